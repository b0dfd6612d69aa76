# Two allocations, each a node of the tree of "top", with the daemon as the main process of its task.
job "edge" {
  datacenters = ["dc1"]

  group "edge" {
    count = 2

    # Nomad restarts the daemon, should it ever end; the tree restarts everything else.
    restart {
      attempts = 3
      interval = "10m"
      delay    = "15s"
      mode     = "delay"
    }

    # The key is the identity of a node: an allocation that is placed anew brings it along.
    ephemeral_disk {
      migrate = true
      sticky  = true
    }

    task "supervisord-ng" {
      driver       = "exec"
      kill_timeout = "60s" # more than the longest shutdown in the tree

      config {
        command = "supervisord-ng"
        args    = ["-c", "local/tree.toml", "--state-dir", "${NOMAD_ALLOC_DIR}/data/state", "--runtime-dir", "${NOMAD_TASK_DIR}/run"]
      }

      template {
        destination = "local/tree.toml"
        data        = <<TREE
[node]
name = "edge-{{ env "NOMAD_ALLOC_INDEX" }}"

[parent]
endpoint = "tcp://top.example.org:7700"
public_key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"

[supervisor.root]
strategy = "rest_for_one"
intensity = 5
period = "1m"
children = ["cache", "web"]

[worker.cache]
command = ["redis-server", "--port", "6400", "--supervised", "systemd"]
ready = "notify"

[worker.web]
command = ["python3", "-m", "http.server", "8080"]
ready = { tcp = "127.0.0.1:8080" }
TREE
      }
    }
  }
}
