// The space-time diagram: a lane for each node, time down, an arrow for each message. It is drawn from events as they
// come, can be paused, and then goes on by single steps.

const SVG = 'http://www.w3.org/2000/svg';
const KEPT = 1200;
const DRAWN = 400;
const LISTED = 60;
const ROW = 16;
const TOP = 12;
const HEADS = 24;
const LEFT = 30;
const SIDE = 44;
const MIN_LANE = 84;
// What happens apart stands apart, but a long silence is no long gap.
const GAP_MS = 400;
const GAP = 26;

const KINDS = new Set(['send', 'receive', 'lose', 'hold', 'release', 'start', 'crash', 'restart', 'call', 'tell']);

function element(name, attributes = {}, text = '') {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

/** Which protocol a message is of: single decrees say `Prepare`, the others `bully.election` and `log.accept`. */
function family(name = '') {
  if (name.startsWith('bully.')) return 'election';
  // Asked all the time, and seldom with news in the answer.
  if (name === 'Learn' || name === 'Learned') return 'learn';
  return name.includes('.') ? 'log' : 'paxos';
}

/** Whether an event is worth a place: of what a node tells its clients, only what was decided. */
const isDrawn = ({ kind, name }) => KINDS.has(kind) && (kind !== 'tell' || /decided/i.test(name ?? ''));

/** Clocks of nodes differ a little: a receipt is not shown before its send, nor an event before its node's last one. */
function settle(events) {
  const inOrder = [...events].sort((one, other) => one.number - other.number);
  const sent = new Map(inOrder.filter(({ kind }) => kind === 'send').map((event) => [`${event.message}>${event.peer}`, event]));
  for (let pass = 0, changed = true; changed && pass < 20; pass += 1) {
    changed = false;
    const last = new Map();
    for (const event of inOrder) {
      const send = event.kind === 'receive' ? sent.get(`${event.message}>${event.node}`) : undefined;
      const least = Math.max(last.get(event.node) ?? -Infinity, send ? send.at_us + 1 : -Infinity);
      if (event.at_us < least) {
        event.at_us = least;
        changed = true;
      }
      last.set(event.node, event.at_us);
    }
  }
}

export class Diagram {
  constructor(root, nodes) {
    this.nodes = nodes;
    this.canvas = root.querySelector('[data-diagram]');
    this.list = root.querySelector('[data-events]');
    this.pauseButton = root.querySelector('[data-do="pause"]');
    this.stepButton = root.querySelector('[data-do="step"]');
    this.clearButton = root.querySelector('[data-do="clear"]');
    this.waiting = root.querySelector('[data-waiting]');
    this.filters = [...root.querySelectorAll('input[data-family]')];
    this.events = [];
    this.queue = [];
    this.life = '';
    this.last = 0;
    this.isPaused = false;
    this.isDue = false;
    this.pauseButton.addEventListener('click', () => this.pause(!this.isPaused));
    this.stepButton.addEventListener('click', () => this.step());
    this.clearButton.addEventListener('click', () => { this.events = []; this.draw(); });
    this.filters.forEach((filter) => filter.addEventListener('change', () => this.draw()));
    this.draw();
  }

  /** From now on these are the nodes, each with a lane. */
  meet(nodes) {
    if (`${nodes}` === `${this.nodes}`) return;
    this.nodes = nodes;
    this.draw();
  }

  /** Takes events as the node tells them, numbered, each with node, at_us, kind and more. */
  add({ life, events }) {
    if (life !== this.life) {
      // Another start of the node numbers anew, and its time begins anew.
      this.life = life;
      this.last = 0;
      this.events = [];
      this.queue = [];
    }
    const fresh = events.filter((event) => event.number > this.last && isDrawn(event));
    this.queue.push(...fresh);
    this.last = Math.max(this.last, ...events.map(({ number }) => number));
    // A node's clock may be a little ahead of another's.
    this.queue.sort((one, other) => one.at_us - other.at_us);
    if (!this.isPaused) this.take(this.queue.length);
    else this.tell();
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    this.pauseButton.textContent = isPaused ? 'Go on' : 'Pause';
    this.pauseButton.setAttribute('aria-pressed', `${isPaused}`);
    this.stepButton.disabled = !isPaused;
    if (!isPaused) this.take(this.queue.length);
    this.tell();
  }

  step() {
    // What is not shown is no step.
    let count = this.queue.findIndex((event) => this.isShown(event));
    count = count < 0 ? this.queue.length : count + 1;
    this.take(count);
    this.tell();
  }

  tell() {
    this.waiting.textContent = this.isPaused ? `Paused; ${this.queue.filter((event) => this.isShown(event)).length} events wait.` : '';
  }

  take(count) {
    this.events.push(...this.queue.splice(0, count));
    settle(this.events);
    this.events.sort((one, other) => one.at_us - other.at_us);
    this.events.splice(0, Math.max(0, this.events.length - KEPT));
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => { this.isDue = false; this.draw(); });
  }

  isShown(event) {
    // Who is no member any more has no lane.
    if (![event.node, event.peer || event.node].every((node) => this.nodes.includes(node))) return false;
    const filter = this.filters.find(({ dataset }) => dataset.family === family(event.name));
    return !event.message || !filter || filter.checked;
  }

  draw() {
    const shown = this.events.filter((event) => this.isShown(event)).slice(-DRAWN);
    const width = Math.max(this.canvas.clientWidth || 0, 2 * SIDE + LEFT + MIN_LANE * (this.nodes.length - 1));
    const lane = (width - 2 * SIDE - LEFT) / Math.max(1, this.nodes.length - 1);
    const xOf = (node) => LEFT + SIDE + this.nodes.indexOf(node) * lane;
    const sent = this.place(shown);
    const height = TOP + ROW + (shown.length ? shown.at(-1).y - TOP : 0) + ROW;
    const svg = element('svg', {
      width, height, viewBox: `0 0 ${width} ${height}`, role: 'img',
      'aria-label': `Space-time diagram of ${this.nodes.length} nodes: the last ${shown.length} events. They are listed below as text.`,
    });
    svg.append(this.arrowHeads());
    // They stay in sight while the rest scrolls.
    const heads = element('svg', { class: 'heads', width, height: HEADS, viewBox: `0 0 ${width} ${HEADS}`, 'aria-hidden': 'true' });
    for (const node of this.nodes) {
      svg.append(element('line', { class: 'lane', x1: xOf(node), x2: xOf(node), y1: TOP - 8, y2: height }));
      heads.append(element('text', { class: 'node', x: xOf(node), y: 16, 'text-anchor': 'middle' }, `${node}`));
    }
    for (const event of shown) this.drawEvent(svg, event, sent, xOf, height);
    const atEnd = this.canvas.scrollTop + this.canvas.clientHeight >= this.canvas.scrollHeight - 40;
    this.canvas.replaceChildren(heads, svg);
    if (atEnd || !this.isPaused) this.canvas.scrollTop = this.canvas.scrollHeight;
    this.write(shown);
  }

  /** Gives every event its height, and finds the sends by the messages' names. */
  place(shown) {
    const sent = new Map();
    let y = TOP;
    let before = null;
    for (const event of shown) {
      if (before !== null) y += event.at_us - before > GAP_MS * 1000 ? GAP : ROW;
      before = event.at_us;
      event.y = y;
      if (event.kind === 'send') sent.set(`${event.message}>${event.peer}`, event);
    }
    return sent;
  }

  arrowHeads() {
    const heads = element('defs');
    for (const kind of ['paxos', 'election', 'log', 'learn']) {
      const head = element('marker', {
        id: `head-${kind}`, class: kind, viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto',
      });
      head.append(element('path', { d: 'M0 0 8 4 0 8z' }));
      heads.append(head);
    }
    return heads;
  }

  drawEvent(svg, event, sent, xOf, height) {
    const x = xOf(event.node);
    const kind = family(event.name);
    const label = [event.name, event.ballot].filter(Boolean).join(' ');
    if (event.kind === 'receive' || event.kind === 'lose') {
      const isLost = event.kind === 'lose';
      // A loss is told by whoever sent.
      const [from, to] = isLost ? [event.node, event.peer] : [event.peer, event.node];
      const send = sent.get(`${event.message}>${to}`);
      const [x1, y1] = [xOf(from), send ? send.y : event.y - ROW];
      const [x2, y2] = isLost ? [(xOf(from) + xOf(to)) / 2, (y1 + event.y) / 2 + ROW / 2] : [xOf(to), event.y];
      const arrow = element('line', {
        class: `arrow ${kind}${isLost ? ' lost' : ''}`, x1, y1, x2, y2, ...(isLost ? {} : { 'marker-end': `url(#head-${kind})` }),
      });
      arrow.append(element('title', {}, event.text));
      svg.append(arrow);
      if (isLost) svg.append(element('path', { class: 'cross', d: `M${x2 - 5} ${y2 - 5}l10 10m0-10l-10 10` }));
      const side = x2 > x1 ? 1 : -1;
      svg.append(element('text', {
        class: `label ${kind}`, x: x1 + side * 8, y: y1 - 3, 'text-anchor': side > 0 ? 'start' : 'end',
      }, label));
      if (send) send.isDrawn = true;
      return;
    }
    if (event.kind === 'send') {
      svg.append(element('circle', { class: `dot ${kind}`, cx: x, cy: event.y, r: 3 }));
      return;
    }
    if (event.kind === 'hold' || event.kind === 'release') {
      const box = element('rect', { class: `gate ${event.kind}`, x: x - 5, y: event.y - 5, width: 10, height: 10 });
      box.append(element('title', {}, event.text));
      svg.append(box);
    } else if (event.kind === 'crash') {
      svg.append(element('line', { class: 'gone', x1: x, x2: x, y1: event.y, y2: height }));
      svg.append(element('path', { class: 'cross', d: `M${x - 6} ${event.y - 6}l12 12m0-12l-12 12` }));
    } else {
      const mark = element('path', { class: 'mark', d: `M${x} ${event.y - 5}l5 5-5 5-5-5z` });
      mark.append(element('title', {}, event.text));
      svg.append(mark);
    }
    const words = event.kind === 'hold' || event.kind === 'release' ? `${event.kind}: ${label}` : event.text;
    const cut = words.length > 34 ? `${words.slice(0, 33)}…` : words;
    const isLast = this.nodes.indexOf(event.node) === this.nodes.length - 1;
    svg.append(element('text', {
      class: 'note', x: isLast ? x - 9 : x + 9, y: event.y + 4, 'text-anchor': isLast ? 'end' : 'start',
    }, cut));
  }

  /** The same as text. */
  write(shown) {
    const lines = shown.slice(-LISTED).map((event) => {
      const line = document.createElement('li');
      line.textContent = `${event.node} ${event.kind}${event.peer ? ` ${event.kind === 'receive' ? 'from' : 'to'} ${event.peer}` : ''}: ${event.text}`;
      return line;
    });
    this.list.replaceChildren(...lines);
  }
}
