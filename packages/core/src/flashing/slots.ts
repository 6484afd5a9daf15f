import * as v from 'valibot';
import { absolutePathField, countField } from '../model/fields.ts';
import type { FlashProof } from '../model/flash.ts';

/** A stretch of a block device, or a file that stands for one; written as it is and read back. */
export interface BlockSlot {
  readonly method: 'block';
  /** Absolute path on the target. Best one that stays the same, such as those of `/dev/disk/by-id`. */
  readonly device: string;
  /** Where the slot begins; a multiple of 512. Default 0. */
  readonly offsetBytes?: number;
  /** Default: up to the device's end. */
  readonly sizeBytes?: number;
}

/**
 * An update installed by the board's own updater, which checks its signature, writes the slot that is
 * not in use and tells the bootloader: {@link rauc}, {@link swupdate}, or a command of your own.
 */
export interface UpdaterSlot {
  readonly method: 'updater';
  /** The command; the path of the update is appended. */
  readonly argv: readonly [string, ...string[]];
  /** Folder on the target with room for the update. Default `/tmp`. */
  readonly folder?: string;
  /** Ending of the update's name, for updaters that look at it. Default none. */
  readonly suffix?: string;
  /** What the updater proves. Default `none`. */
  readonly proof?: FlashProof;
}

/** What can be flashed over a shell. */
export type ShellSlot = BlockSlot | UpdaterSlot;

/** Options of {@link rauc}. */
export interface RaucOptions {
  /** Default `/tmp`. */
  readonly folder?: string;
}

/**
 * A slot that RAUC installs: it verifies the bundle's signature and writes the group of slots that is not
 * booted. Needs `rauc` and its service on the board. Source: RAUC's manual, "rauc install".
 */
export function rauc({ folder }: RaucOptions = {}): UpdaterSlot {
  return {
    method: 'updater',
    argv: ['rauc', 'install'],
    suffix: '.raucb',
    proof: 'source',
    ...(folder !== undefined && { folder }),
  };
}

/** Options of {@link swupdate}. */
export interface SwupdateOptions {
  /** Software set and mode, such as `stable,copy-2`. Default: the board's own configuration. */
  readonly select?: string;
  /** Path on the board of the public key that images are signed for. Default: none is checked here. */
  readonly publicKey?: string;
  /** Default `/tmp`. */
  readonly folder?: string;
}

/** A slot that SWUpdate installs. Source: SWUpdate's manual, "Command line parameters". */
export function swupdate({ select, publicKey, folder }: SwupdateOptions = {}): UpdaterSlot {
  return {
    method: 'updater',
    argv: [
      'swupdate',
      ...(select === undefined ? [] : ['-e', select]),
      ...(publicKey === undefined ? [] : ['-k', publicKey]),
      '-i',
    ],
    suffix: '.swu',
    proof: publicKey === undefined ? 'transport' : 'source',
    ...(folder !== undefined && { folder }),
  };
}

/** A multiplexer that gives an SD card to the host that writes it, or to the board. */
export interface SdMux {
  /** Runs on the target and gives the card to it, such as `['usbsdmux', '/dev/usb-sd-mux/id-00001', 'host']`. */
  readonly toHost: readonly [string, ...string[]];
  /** Gives it to the board. */
  readonly toBoard: readonly [string, ...string[]];
  /** The card as the target sees it: waited for after the switch. */
  readonly device: string;
}

const argv = v.pipe(v.array(v.string()), v.minLength(1, 'must name a command'));

/** Checks a slot as it was given. */
export const slotSchema: v.GenericSchema<unknown, unknown> = v.variant('method', [
  v.object({
    method: v.literal('block'),
    device: absolutePathField,
    offsetBytes: v.exactOptional(
      v.pipe(
        v.number('must be a number'),
        v.minValue(0, 'must not be negative'),
        v.multipleOf(512, 'must be a multiple of 512'),
      ),
    ),
    sizeBytes: v.exactOptional(countField),
  }),
  v.object({
    method: v.literal('updater'),
    argv,
    folder: v.exactOptional(absolutePathField),
    suffix: v.exactOptional(
      v.pipe(v.string(), v.regex(/^[\w.-]*$/, 'may have letters, digits, ".", "-" and "_" only')),
    ),
    proof: v.exactOptional(v.picklist(['readback', 'source', 'transport', 'none'])),
  }),
]);

/** Checks a multiplexer as it was given. */
export const sdMuxSchema: v.GenericSchema<unknown, unknown> = v.object({
  toHost: argv,
  toBoard: argv,
  device: absolutePathField,
});

const largestBlock = 1024 * 1024;

/** The largest power of two up to 1 MiB that divides an offset: with it `dd` gets there by one seek. */
export function blockBytes(offset: number): number {
  let size = largestBlock;
  while (offset % size !== 0) size /= 2;
  return size;
}
