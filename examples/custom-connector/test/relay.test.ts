import { Secret } from '@bringup/core';
import { powerContract } from '@bringup/core/testing';
import { expect, it } from 'vitest';
import { relay } from '../src/relay.ts';
import { RelayBoxServer } from './relay-box.ts';

// What every outlet must do, the SDK's own ones too.
powerContract({
  name: 'relay box',
  setup: async () => {
    const box = await RelayBoxServer.start();
    const outlet = await relay().open({ method: 'gpio_relay', relayAddress: box.address, gpioPin: '4' });
    return {
      outlet,
      tellsState: true,
      actual: () => (box.closed.get('4') === true ? 'on' : 'off'),
      stick: () => void (box.stuck = true),
      disconnect: () => box.unplug(),
      dispose: async () => {
        await outlet[Symbol.asyncDispose]();
        await box.unplug();
      },
    };
  },
});

it('shows its token to the box, and tells a refused one from a box that is away', async () => {
  await using box = await RelayBoxServer.start('sesame');
  const config = { method: 'gpio_relay', relayAddress: box.address, gpioPin: '1' } as const;
  const stranger = await relay({ token: new Secret('guess') }).open(config);
  await expect(stranger.on()).rejects.toMatchObject({ code: 'authentication-failed', retryable: false });
  const friend = await relay({ token: new Secret('sesame') }).open(config);
  await friend.on();
  expect(box.closed.get('1')).toBe(true);
});

it('asks one box one thing at a time, whichever of its channels it is about', async () => {
  await using box = await RelayBoxServer.start();
  await using connector = relay();
  const open = (gpioPin: string) => connector.open({ method: 'gpio_relay', relayAddress: box.address, gpioPin });
  const outlets = await Promise.all(['1', '2', '3', '4'].map(open));
  await Promise.all(outlets.map((outlet) => outlet.on()));
  expect([...box.closed.values()]).toEqual([true, true, true, true]);
  expect(box.busiest).toBe(1);
});

it('says what is wrong with the configuration of a board', async () => {
  await expect(relay().open({ method: 'gpio_relay', relayAddress: 'relay.lab', gpioPin: 'PA3' })).rejects.toMatchObject(
    { code: 'invalid-input' },
  );
});

it('says so when the box has no such channel', async () => {
  await using box = await RelayBoxServer.start();
  const outlet = await relay().open({ method: 'gpio_relay', relayAddress: box.address, gpioPin: '9' });
  await expect(outlet.on()).rejects.toMatchObject({ code: 'power-failed' });
});
