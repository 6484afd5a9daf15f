import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { BringupError, systemClock, type Clock, type ShellConnector } from '@bringup/core';
import { ConsoleReader } from '@bringup/core/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { parseDevice } from '../src/device.ts';
import { serial } from '../src/index.ts';
import { LineServer, type LineServerOptions } from './support/line-server.ts';

let cleanup = new AsyncDisposableStack();
afterEach(async () => {
  await cleanup.disposeAsync();
  cleanup = new AsyncDisposableStack();
});

async function line(options: LineServerOptions) {
  const server = cleanup.use(await LineServer.start(options));
  const connector = cleanup.use(serial());
  const open = (query = '', baudRate = 57_600) =>
    connector.open({ name: 'board1', device: server.device + query, baudRate }, { timeoutMs: 5_000 });
  return { server, connector, open };
}

describe('an RFC 2217 line', () => {
  it('is set up as the board and the device say', async () => {
    const { server, open } = await line({ protocol: 'rfc2217' });
    await open('?parity=even&stopBits=2&dataBits=7&flow=hardware&dtr=off&rts=on');
    expect(server.commands).toEqual([
      [1, 57_600],
      [2, 7],
      [3, 3],
      [4, 2],
      [5, 3],
      [5, 9],
      [5, 11],
      [12, 1],
      [4, 2],
    ]);
  });

  it('is not open before its server has dropped what was said before: it would drop what is said then', async () => {
    let purged = false;
    const answer = (command: number, value: number): number | undefined => {
      purged ||= command === 12;
      return purged ? undefined : value;
    };
    const { server, connector } = await line({ protocol: 'rfc2217', answer });
    const target = { name: 'board1', device: server.device, baudRate: 115_200 };
    await expect(connector.open(target, { timeoutMs: 300 })).rejects.toMatchObject({ code: 'deadline-exceeded' });
    expect(purged).toBe(true);
  });

  it('whose server sets another baud rate is not opened', async () => {
    const { open } = await line({ protocol: 'rfc2217', answer: (command, value) => (command === 1 ? 9_600 : value) });
    await expect(open()).rejects.toMatchObject({
      code: 'connection-failed',
      details: { setting: 'baud', wanted: 57_600, got: 9_600 },
    });
  });

  it('needs no answer to controls, which some servers never give', async () => {
    const { server, open } = await line({
      protocol: 'rfc2217',
      answer: (command, value) => (command > 4 ? undefined : value),
    });
    const console = await open('?dtr=on');
    await console.write(Buffer.from('hello'));
    await server.until(() => server.received.length === 5);
    expect(server.received.toString()).toBe('hello');
  });

  it('whose server never answers is given up in time', async () => {
    const { server, connector } = await line({ protocol: 'rfc2217', answer: () => undefined });
    const target = { name: 'board1', device: server.device, baudRate: 115_200 };
    await expect(connector.open(target, { timeoutMs: 300 })).rejects.toMatchObject({ code: 'deadline-exceeded' });
  });

  it('whose server speaks plain telnet is told apart', async () => {
    const { open } = await line({ protocol: 'rfc2217', refuses: [44] });
    await expect(open()).rejects.toMatchObject({ code: 'unsupported' });
  });

  it('that somebody else holds is busy, in the words of its server', async () => {
    const { open } = await line({ protocol: 'rfc2217', rejectsWith: "Port's device already in use\n\r" });
    await expect(open()).rejects.toMatchObject({ code: 'console-busy', retryable: true });
  });

  it('asks again why, when a server hung up and its words were lost with what we were writing', async () => {
    let visits = 0;
    const server = createServer((socket) => {
      visits += 1;
      socket.on('error', () => undefined);
      if (visits === 2) {
        socket.end("Port's device already in use\n\r");
        return;
      }
      // WILL COM-PORT-OPTION, and gone at our answer.
      socket.write(Buffer.from([255, 251, 44]));
      socket.once('data', () => socket.resetAndDestroy());
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const device = `rfc2217://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await using connector = serial();
    const open = () => connector.open({ name: 'board1', device, baudRate: 115_200 });
    await expect(open()).rejects.toMatchObject({ code: 'console-busy', retryable: true });
    expect(visits).toBe(2);
    await expect(open()).rejects.toMatchObject({ code: 'connection-failed', details: { said: '' } });
    expect(visits).toBe(4);
    server.close();
  });

  it('waits with typing while the server asks it to', async () => {
    const { server, open } = await line({ protocol: 'rfc2217' });
    const console = await open();
    const reader = new ConsoleReader(console);
    server.send(255, 250, 44, 108, 255, 240);
    server.say(Buffer.from('stop'));
    await reader.until('stop');
    let written = false;
    const writing = console.write(Buffer.from('later')).then(() => (written = true));
    server.say(Buffer.from('!'));
    await reader.until('!');
    expect(written).toBe(false);
    server.send(255, 250, 44, 109, 255, 240);
    await writing;
    await server.until(() => server.received.toString() === 'later');
  });
});

describe('a serial connector', () => {
  it('says what is wrong with a device', () => {
    for (const device of ['ttyUSB0', 'http://x:1', 'rfc2217://host', 'tcp://:1', 'exporter://lab3', 'unix://host']) {
      expect(() => parseDevice(device), device).toThrow(expect.objectContaining({ code: 'invalid-input' }));
    }
    expect(() => parseDevice('/dev/ttyS0?parity=maybe&speed=1')).toThrow(
      expect.objectContaining({
        details: {
          issues: [
            { path: 'device.parity', message: 'must be one of none, odd, even, mark, space' },
            { path: 'device.speed', message: expect.stringContaining('parity') as string },
          ],
        },
      }),
    );
    expect(parseDevice('telnet://[::1]')).toEqual({ type: 'telnet', host: '::1', port: 23 });
    expect(parseDevice('exporter://lab-3/dev/serial/by-id/usb-1')).toMatchObject({
      exporter: 'lab-3',
      path: '/dev/serial/by-id/usb-1',
    });
  });

  it('says that a server does not answer, and may later', async () => {
    const connector = cleanup.use(serial());
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    const target = { name: 'board1', device: `tcp://127.0.0.1:${port}`, baudRate: 115_200 };
    await expect(connector.open(target)).rejects.toMatchObject({ code: 'connection-failed', retryable: true });
    await expect(connector.open(target)).rejects.toMatchObject({ code: 'connection-failed' });
  });

  it('says that a device or an exporter is not there', async () => {
    const connector = cleanup.use(serial());
    const open = (device: string) => connector.open({ name: 'board1', device, baudRate: 115_200 });
    await expect(open('/dev/no-such-tty')).rejects.toMatchObject({ code: 'not-found' });
    await expect(open('exporter://lab3/dev/ttyS0')).rejects.toMatchObject({ code: 'invalid-input' });
  });

  it('passes on why an exporter can’t be reached', async () => {
    const shell: ShellConnector = {
      name: 'ssh',
      connect: async () => {
        throw new BringupError('authentication-failed', 'no key fits');
      },
      [Symbol.asyncDispose]: async () => {},
    };
    const exporters = { lab3: { connector: shell, target: { hostname: 'lab3', username: 'lab' } } };
    const connector = cleanup.use(serial({ exporters }));
    const target = { name: 'board1', device: 'exporter://lab3/dev/ttyS0', baudRate: 115_200 };
    await expect(connector.open(target)).rejects.toMatchObject({ code: 'authentication-failed' });
  });

  it('a console that is read slowly holds a bounded amount, and loses nothing', async () => {
    const { server, open } = await line({ protocol: 'tcp' });
    const console = await open();
    const block = Buffer.alloc(65_536, 'x');
    for (let i = 0; i < 64; i += 1) server.say(block);
    server.say(Buffer.from('the end'));
    const reader = new ConsoleReader(console);
    await reader.until('the end');
    expect(reader.bytes.length).toBe(64 * block.length + 7);
  });

  it('disposed of, it closes its consoles and opens no more', async () => {
    const { connector, open } = await line({ protocol: 'tcp' });
    const reader = new ConsoleReader(await open());
    await connector[Symbol.asyncDispose]();
    await reader.ended;
    await expect(open()).rejects.toThrow(TypeError);
  });

  it('breaks last a quarter of a second of its clock', async () => {
    const server = cleanup.use(await LineServer.start({ protocol: 'rfc2217' }));
    const waits: number[] = [];
    const clock: Clock = {
      now: () => systemClock.now(),
      timer: (delayMs, fire, options) => {
        waits.push(delayMs);
        return systemClock.timer(delayMs, fire, options);
      },
    };
    const connector = cleanup.use(serial({ clock }));
    const console = await connector.open({ name: 'board1', device: server.device, baudRate: 115_200 });
    waits.length = 0;
    await console.sendBreak?.();
    expect(waits).toEqual([250]);
    await server.until(() => server.commands.some(([command, value]) => command === 5 && value === 6));
  });
});
