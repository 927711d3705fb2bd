// Five lab nodes of the tests' own, on free ports, with a directory that vanishes with them.

import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const PATIENCE_MS = 60_000;
const TRIES = 5;

export const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Looks until something is there. */
export async function until(what, look) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await pause(20);
  }
}

function isFree(port) {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}

async function freePorts(count) {
  for (;;) {
    const first = 20_000 + Math.floor(Math.random() * 2000) * 6;
    const ports = Array.from({ length: count }, (_, at) => first + at);
    const free = await Promise.all(ports.map(isFree));
    if (free.every(Boolean)) return ports;
  }
}

export class Cluster {
  static async start(count) {
    for (let tried = 0; tried < TRIES; tried += 1) {
      const cluster = new Cluster();
      cluster.ports = await freePorts(count);
      cluster.data = await mkdtemp(join(tmpdir(), 'synod-browser-'));
      cluster.process = spawn(
        process.env.SYNOD,
        ['up', '--nodes', `${count}`, '--base-port', `${cluster.ports[0]}`, '--data', cluster.data],
        { stdio: ['ignore', 'pipe', 'pipe'] },
      );
      let said = '';
      let hasEnded = false;
      cluster.process.once('exit', () => { hasEnded = true; });
      for (const stream of [cluster.process.stdout, cluster.process.stderr]) {
        stream.on('data', (piece) => { said += piece; });
      }
      await until('the nodes to start', () => said.includes('\nready') || hasEnded);
      if (!hasEnded) {
        await cluster.isReady();
        return cluster;
      }
      await cluster.stop();
      // Somebody may have taken a port between the look and the start.
      if (!said.includes('in use')) throw new Error(`the nodes do not start: ${said}`);
    }
    throw new Error('found no free ports');
  }

  async stop() {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const ended = new Promise((resolve) => { this.process.once('exit', resolve); });
      this.process.kill('SIGTERM');
      await ended;
    }
    await rm(this.data, { recursive: true, force: true });
  }

  url(node, path = '/') {
    return `http://127.0.0.1:${this.ports[node]}${path}`;
  }

  /** Waits until all nodes follow a leader. */
  async isReady() {
    for (const at of this.ports.keys()) {
      await until(`node ${at} to be ready`, async () => (await fetch(this.url(at, '/readyz')).catch(() => null))?.ok);
    }
  }

  /** Posts without a browser. */
  async post(node, path, fields) {
    const answer = await fetch(this.url(node, path), { method: 'POST', body: new URLSearchParams(fields) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer;
  }

  async board(node, path = '/board') {
    return (await fetch(this.url(node, path))).json();
  }

  /** A command of the shell, on these nodes. */
  async shell(command) {
    const run = promisify(execFile);
    const { stdout } = await run(process.env.SYNOD, ['--connect', `127.0.0.1:${this.ports[0]}`, '-c', command]);
    return stdout;
  }
}
