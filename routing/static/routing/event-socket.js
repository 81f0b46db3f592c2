// A websocket endpoint's events in a web page, without a missing or doubled one across restarts and broken
// connections. No dependencies; copy it, or load it from the service. docs/browser.md says how to use it.

const LONGEST_PAUSE_MS = 30_000; // between two tries to connect
const FINAL = [1008, 4404, 4410]; // not allowed, no such endpoint, endpoint gone: it would only happen again

export class EventSocket {
  #options;
  #cursor; // behind what was taken last
  #socket = null;
  #timer = null;
  #run = null; // one object from a start to its stop
  #tries = 0; // since the service was last ready, or an event was last taken
  #stuck = false; // the last event could not be taken
  #work = Promise.resolve(); // frames are worked on one after the other

  // url: wss://HOST/event-service/ws?endpoint_id=ID
  // ticket(): returns a fresh ticket, or a promise of one. If it throws it is asked again later, unless error.final.
  // take(event, text): works on an event, whose frame was `text`. Until it (or its promise) is done, it is not taken.
  // after: the cursor behind which to begin; without it where the endpoint's delivery stands, or now with watch.
  // watch: look on, and deliver nothing. Otherwise an event is delivered when it was taken.
  // reset(frame): some events can't be had.   state(frame): how a delivery stands, on an operator's page.
  // tell(state, text): "connecting", "open", "waiting", "ended" or "stopped".   broke: what it says of a broken connection.
  constructor({ url, ticket, take, after = null, watch = false, reset = () => {}, state = () => {}, tell = () => {}, broke }) {
    this.#options = { url, ticket, take, watch, reset, state, tell, broke };
    this.#cursor = after;
  }

  get cursor() {
    return this.#cursor;
  }

  start() {
    if (this.#run === null) {
      this.#run = {};
      this.#tries = 0;
      this.#connect(this.#run);
    }
  }

  // A start after it goes on where it stopped.
  stop() {
    this.#leave();
    this.#options.tell("stopped", "");
  }

  #leave() {
    clearTimeout(this.#timer);
    this.#run = null;
    this.#hangUp();
  }

  #hangUp() {
    const socket = this.#socket;
    this.#socket = null; // so that nothing more that it says counts
    socket?.close();
  }

  async #connect(run) {
    this.#options.tell("connecting", "");
    let ticket;
    try {
      ticket = await this.#options.ticket();
    } catch (error) {
      if (run === this.#run) this.#goOn(error.message, { final: error.final });
      return;
    }
    if (run === this.#run) this.#open(ticket);
  }

  #open(ticket) {
    const socket = new WebSocket(this.#address(ticket), this.#options.watch ? [] : ["event-service.v1"]);
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      this.#work = this.#work.then(() => this.#receive(data, socket)).catch(console.error);
    };
    socket.onclose = ({ code, reason }) => {
      // What has come is worked on first: the next socket begins behind it.
      this.#work = this.#work.then(() => {
        if (socket !== this.#socket) return;
        this.#socket = null;
        this.#goOn(reason || this.#options.broke || "The connection broke.", { final: FINAL.includes(code) });
      }).catch(console.error);
    };
  }

  #address(ticket) {
    const url = new URL(this.#options.url);
    url.searchParams.set("access", ticket);
    if (this.#options.watch) url.searchParams.set("watch", "1");
    if (this.#cursor !== null && !url.searchParams.has("share")) { // a group keeps its place by itself
      // Beside `from`, which stays: what lies before that time does not count as taken.
      url.searchParams.set("after", this.#cursor);
    }
    return url;
  }

  #goOn(reason, { final = false } = {}) {
    if (final) {
      this.#leave();
      this.#options.tell("ended", reason);
      return;
    }
    const longest = Math.min(LONGEST_PAUSE_MS, 500 * 2 ** this.#tries++);
    const run = this.#run;
    // By chance, so that all the pages of a service that restarted don't come at once.
    this.#timer = setTimeout(() => this.#connect(run), longest * (0.5 + Math.random() / 2));
    this.#options.tell("waiting", reason);
  }

  async #receive(text, socket) {
    if (socket !== this.#socket) return;
    const frame = JSON.parse(text);
    switch (frame.kind) {
      case "ready":
        if (!this.#stuck) this.#tries = 0;
        this.#cursor ??= frame.cursor;
        this.#options.tell("open", "");
        break;
      case "reset":
        this.#cursor = frame.cursor;
        this.#options.reset(frame);
        break;
      case "state":
        this.#options.state(frame);
        break;
      case "error":
        console.error(`event-service: ${frame.code}: ${frame.message}`);
        break;
      default:
        await this.#take(frame, text, socket);
    }
  }

  async #take(event, text, socket) {
    try {
      await this.#options.take(event, text);
    } catch (error) {
      console.error(error);
      if (socket !== this.#socket) return;
      this.#stuck = true;
      this.#hangUp(); // it comes again, and what is behind it waits: `after` says that all before it was taken
      this.#goOn(`An event could not be taken: ${error.message}`);
      return;
    }
    if (socket !== this.#socket) return; // it was stopped meanwhile
    this.#stuck = false;
    this.#tries = 0;
    this.#cursor = event.cursor;
    if (!this.#options.watch && socket.readyState === WebSocket.OPEN) {
      socket.send(JSON.stringify({ kind: "ack", cursor: event.cursor }));
    }
  }
}
