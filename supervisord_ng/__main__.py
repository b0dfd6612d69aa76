"""``python -m supervisord_ng`` is the daemon."""

from supervisord_ng.daemon import main

if __name__ == "__main__":
    main()
