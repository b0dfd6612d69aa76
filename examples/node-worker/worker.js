// A small HTTP service that computes Fibonacci numbers, and fails in three ways when it is asked to.
"use strict";

const http = require("node:http");
const { attach } = require("./supervisor");

const port = Number(process.env.PORT ?? 8080);
const supervisor = attach();
let answered = 0;

const fibonacci = (n) => (n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2));

function spinForEver() {
  for (;;);
}

async function answer(path) {
  if (path === "/crash") setImmediate(() => JSON.parse("no JSON"));
  if (path === "/spin") spinForEver(); // no timer fires any more: the beats stop
  if (path === "/forget") await new Promise(() => {}); // timers fire, but the work does not move
  return `${fibonacci(Number(path.slice(1)) || 1)}\n`;
}

const server = http.createServer((request, response) =>
  supervisor.job(async () => {
    response.end(await answer(request.url));
    supervisor.status(`${++answered} answered`);
  }),
);

server.listen(port, "127.0.0.1", () => {
  console.log(`serving on http://127.0.0.1:${port}/`);
  supervisor.ready();
});

supervisor.on("stop", () => {
  console.log("stopping");
  server.close(() => supervisor.detach());
  server.closeIdleConnections();
});
