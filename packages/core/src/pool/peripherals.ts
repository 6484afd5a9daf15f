import type { CallOptions } from '../contracts/runtime.ts';
import { peripheralsScript } from './probe-scripts.ts';
import { linesOf, runScript, type CommandRunner } from './probe.ts';

/** What a board says it has. */
export interface BoardFacts {
  /** The device tree's `model`. */
  readonly model?: string;
  readonly serialNumber?: string;
  /** Sorted; such as `can`, `i2c`, `wifi`, `usb:0403:6001`. */
  readonly peripherals: readonly string[];
}

/** Generic names of device tree nodes (Devicetree Specification 0.4, 2.2.2) that are peripherals, and what we call them. */
const nodeNames: Readonly<Record<string, string>> = {
  adc: 'adc',
  bluetooth: 'bluetooth',
  camera: 'camera',
  can: 'can',
  crypto: 'crypto',
  dac: 'dac',
  display: 'display',
  ethernet: 'ethernet',
  gpio: 'gpio',
  gpu: 'gpu',
  hdmi: 'display',
  i2c: 'i2c',
  mmc: 'mmc',
  nvme: 'nvme',
  pcie: 'pcie',
  pwm: 'pwm',
  rtc: 'rtc',
  sata: 'sata',
  serial: 'serial',
  spi: 'spi',
  tpm: 'tpm',
  usb: 'usb',
  watchdog: 'watchdog',
  wifi: 'wifi',
};

/** Device classes of the kernel, and what we call them. */
const classNames: Readonly<Record<string, string>> = {
  bluetooth: 'bluetooth',
  drm: 'display',
  gpio: 'gpio',
  hwmon: 'hwmon',
  'i2c-adapter': 'i2c',
  iio: 'adc',
  mmc_host: 'mmc',
  nvme: 'nvme',
  pwm: 'pwm',
  rtc: 'rtc',
  sound: 'audio',
  spi_master: 'spi',
  tpm: 'tpm',
  ubi: 'nand',
  video4linux: 'camera',
  watchdog: 'watchdog',
};

/** Asks a board's shell what the device tree and the kernel know of its peripherals. @throws as `probeFacts`. */
export async function probeBoard(session: CommandRunner, options: CallOptions = {}): Promise<BoardFacts> {
  const output = await runScript(session, 'looking for peripherals', peripheralsScript, [], options);
  const peripherals = new Set<string>();
  const facts: { model?: string; serialNumber?: string } = {};
  for (const line of linesOf(output)) {
    const [, what, value = ''] = /^(\w+) (.*)$/.exec(line) ?? [];
    if (what === 'model') facts.model = value;
    else if (what === 'serial') facts.serialNumber = value;
    else {
      const name = peripheralName(what, value);
      if (name !== undefined) peripherals.add(name);
    }
  }
  return { ...facts, peripherals: [...peripherals].sort() };
}

function peripheralName(what: string | undefined, value: string): string | undefined {
  switch (what) {
    case 'node':
      return nodeNames[value];
    case 'class':
      return classNames[value];
    case 'net':
      return value;
    case 'usb':
      // Root hubs are the controller, not something plugged in.
      return value.startsWith('1d6b:') ? 'usb' : `usb:${value}`;
    case 'pci':
      return `pci:${value.replaceAll('0x', '')}`;
    default:
      return undefined;
  }
}
