// A worker's line to its supervisor: the frames of docs/worker-protocol.md over ZeroMQ.
//
// Run by hand, without a supervisor, everything here does nothing. Nothing waits for the daemon: what can not
// be sent at once is not sent, and once the daemon is back it is told anew who we are.
"use strict";

const { EventEmitter } = require("node:events");

const LINGER_MS = 500; // how long the end of the process waits for its last words to be taken
const BEATS_QUEUED = 10; // while the daemon is away; older ones say nothing new

// Emits "stop" once, when the worker shall end: SIGTERM came, or the supervisor's `stop`.
class Supervisor extends EventEmitter {
  #dealer = null;
  #head;
  #timer = null;
  #sequence = 0;
  #progress = 0; // moves with the work
  #jobs = 0; // in work; none: there is nothing to progress with
  #isReady = false;
  #isStopping = false;
  #status = null;

  constructor(endpoint, token) {
    super();
    process.once("SIGTERM", () => this.#stop());
    process.once("SIGINT", () => this.#stop());
    if (!endpoint || !token) return;
    const { Dealer } = require("zeromq");
    this.#head = ["SNG1", token];
    this.#dealer = new Dealer({
      immediate: true, // nothing is queued for a connection that there is not
      sendHighWaterMark: BEATS_QUEUED,
      sendTimeout: 0,
      linger: LINGER_MS,
    });
    this.#dealer.events.on("handshake", () => this.#introduce());
    this.#dealer.connect(endpoint);
    this.#listen();
    process.once("uncaughtException", (error) => this.#crash(error));
  }

  // The work can begin.
  ready() {
    this.#isReady = true;
    this.#say("ready");
  }

  // One line for `sng status`.
  status(text) {
    this.#status = text;
    this.#say("status", text);
  }

  // Do a piece of work: progress when it begins and when it ends. Who is stuck in one makes none.
  async job(work) {
    this.#jobs += 1;
    this.#progress += 1;
    try {
      return await work();
    } finally {
      this.#progress += 1;
      this.#jobs -= 1;
    }
  }

  // The end: the process can exit when nothing else keeps it.
  detach() {
    this.#say("stopping");
    clearInterval(this.#timer);
    this.#dealer?.close();
    this.#dealer = null;
  }

  #say(...words) {
    // Rejected when it can not be sent at once: the next beat tells enough.
    this.#dealer?.send([...this.#head, ...words.map(String)]).catch(() => {});
  }

  // On every new connection, so to a new daemon too.
  #introduce() {
    this.#say("hello", process.pid);
    if (this.#isReady) this.#say("ready");
    if (this.#status !== null) this.#say("status", this.#status);
  }

  #beat() {
    this.#sequence += 1;
    this.#say("beat", this.#sequence, this.#jobs > 0 ? this.#progress : "idle");
  }

  async #listen() {
    for await (const [, , kind, argument] of this.#dealer) {
      if (String(kind) === "welcome") this.#welcome(Number(argument));
      else if (String(kind) === "stop") this.#stop();
    }
  }

  #welcome(intervalMs) {
    clearInterval(this.#timer);
    if (intervalMs > 0) {
      this.#timer = setInterval(() => this.#beat(), intervalMs);
      this.#beat();
    }
  }

  #stop() {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.emit("stop");
  }

  #crash(error) {
    console.error(error.stack);
    const { name, message, stack } = error;
    this.#say("crash", JSON.stringify({ type: name, message, traceback: stack }));
    this.detach();
    process.exit(1); // waits for LINGER_MS at most
  }
}

exports.attach = () => new Supervisor(process.env.SNG_HEARTBEAT, process.env.SNG_TOKEN);
