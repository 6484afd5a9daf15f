import { fakeClock } from '@bringup/core/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { startSshd, type Sshd, type SshdOptions } from '../../../../test/fixtures/sshd.ts';
import { ssh, type SshOptions } from '../../src/index.ts';
import type { ShellConnector } from '@bringup/core';

const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one[Symbol.asyncDispose]();
});

async function start(
  options: SshOptions = {},
  config: SshdOptions = {},
): Promise<{ sshd: Sshd; connector: ShellConnector }> {
  const sshd = await startSshd(config);
  opened.push(sshd);
  const connector = ssh({ knownHosts: [sshd.knownHosts], ...options });
  opened.push(connector);
  return { sshd, connector };
}

describe('connections', () => {
  it('are shared by sessions with the same target', async () => {
    const { sshd, connector } = await start();
    const sessions = await Promise.all(Array.from({ length: 5 }, () => connector.connect(sshd.target)));
    await Promise.all(sessions.map((session) => session.exec(['true'])));
    expect(await sshd.connections()).toHaveLength(1);
  });

  it('are added while commands wait, up to the bound, and commands beyond it wait in turn', async () => {
    const { sshd, connector } = await start({ connectionsPerTarget: 2, channelsPerConnection: 3 });
    const session = await connector.connect(sshd.target);
    const order: number[] = [];
    const holders = await Promise.all(Array.from({ length: 6 }, () => session.spawn(['cat'])));
    expect(await sshd.connections()).toHaveLength(2);
    const waiting = [0, 1, 2].map(async (index) => {
      await session.exec(['true']);
      order.push(index);
    });
    await holders[0]?.end();
    await Promise.all(waiting);
    expect(order).toEqual([0, 1, 2]);
    expect(await sshd.connections()).toHaveLength(2);
  });

  it('take what the server allows at a time when that is less', async () => {
    const { sshd, connector } = await start({ connectionsPerTarget: 1 }, { config: ['MaxSessions 2'] });
    const session = await connector.connect(sshd.target);
    const results = await Promise.all(Array.from({ length: 20 }, (_, n) => session.exec(['printf', '%s', `${n}`])));
    expect(results.map(({ stdout }) => stdout.toString())).toEqual(Array.from({ length: 20 }, (_, n) => `${n}`));
  });

  it('can still signal when every channel is taken', async () => {
    const { sshd, connector } = await start({ connectionsPerTarget: 1, channelsPerConnection: 2 });
    const session = await connector.connect(sshd.target);
    const sleepers = await Promise.all([0, 1].map(() => session.spawn(['sleep', '300'])));
    await Promise.all(sleepers.map((sleeper) => sleeper.kill('SIGTERM')));
    expect(await Promise.all(sleepers.map(({ exited }) => exited))).toEqual(
      [0, 1].map(() => ({ exitCode: null, signal: 'SIGTERM' })),
    );
  });

  it('are closed once nobody has used them for a while, and made anew', async () => {
    const clock = fakeClock();
    const { sshd, connector } = await start({ clock, idleMs: 60_000 });
    const session = await connector.connect(sshd.target);
    const [server] = await sshd.connections();
    await session[Symbol.asyncDispose]();
    await clock.advance(59_999);
    const kept = await connector.connect(sshd.target);
    expect(await sshd.connections()).toEqual([server]);
    await clock.advance(600_000);
    expect((await kept.exec(['true'])).exitCode).toBe(0);
    await kept[Symbol.asyncDispose]();
    await clock.advance(60_000);
    const again = await connector.connect(sshd.target);
    expect((await again.exec(['true'])).exitCode).toBe(0);
    expect(await sshd.connections()).not.toContain(server);
  });
});
