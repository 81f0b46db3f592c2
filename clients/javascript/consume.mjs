// Takes an endpoint's events: `URL=wss://HOST ENDPOINT=ID KEY=es_live_... node consume.mjs`. It acknowledges each event
// once `take` is done with it, and goes on behind it when the connection breaks. Node 22 has WebSocket; Node 20 has it
// with --experimental-websocket.
const { URL: service, ENDPOINT, KEY } = process.env;
if (!globalThis.WebSocket) throw new Error(`Node ${process.version} has no WebSocket; Node 22 has it.`);
const FINAL = [1008, 4404, 4410]; // not allowed, no such endpoint, endpoint gone: it would only happen again

let cursor = null; // of the event that was taken last
let tries = 0;

async function take(event) {
  console.log(event.type, JSON.stringify(event.data));
}

function connect() {
  const after = cursor === null ? "" : `&after=${cursor}`;
  const url = `${service}/event-service/ws?endpoint_id=${ENDPOINT}${after}`;
  const socket = new WebSocket(url, ["event-service.v1", `event-service.key.${KEY}`]);
  let work = Promise.resolve(); // one event after the other

  async function receive(frame) {
    if (frame.kind === "ready") tries = 0;
    if (frame.kind === "reset") console.error(`Some events can't be had: ${frame.reason}`);
    if (frame.kind === "event") await take(frame);
    if (frame.kind === "event" || frame.kind === "reset") cursor = frame.cursor;
    if (frame.kind === "event" && socket.readyState === WebSocket.OPEN) {
      socket.send(JSON.stringify({ kind: "ack", cursor }));
    }
  }

  socket.onmessage = ({ data }) => (work = work.then(() => receive(JSON.parse(data))));
  socket.onclose = ({ code, reason }) =>
    work.then(() => {
      if (FINAL.includes(code)) throw new Error(`The service ended the websocket: ${code} ${reason}`);
      const longest = Math.min(30_000, 500 * 2 ** tries++);
      setTimeout(connect, longest * (0.5 + Math.random() / 2));
    });
}

connect();
