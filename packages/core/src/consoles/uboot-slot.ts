/** Where a slot is on a board, as U-Boot reaches it. */
export type UBootSlot =
  /** A stretch of a block device, in blocks of 512 bytes. */
  | {
      readonly interface: 'mmc' | 'virtio' | 'scsi' | 'sata' | 'nvme' | 'usb' | 'ide';
      readonly device: number;
      readonly startBlock: number;
      readonly blocks: number;
    }
  /** A stretch of SPI flash. */
  | { readonly interface: 'sf'; readonly bus?: string; readonly offset: number; readonly sizeBytes: number };

/** How one slot is selected, written and read. */
export interface SlotCommands {
  readonly sizeBytes: number;
  /** Writes happen in multiples of this. */
  readonly blockBytes: number;
  readonly select: string;
  /** @param at - offset in the slot. */
  write(address: number, at: number, sizeBytes: number): string;
  read(address: number, at: number, sizeBytes: number): string;
}

const blockBytes = 512;

/** The commands of a slot. */
export function slotCommands(slot: UBootSlot): SlotCommands {
  if (slot.interface === 'sf') {
    const { bus = '0', offset, sizeBytes } = slot;
    const where = (address: number, at: number, size: number): string =>
      `${hex(address)} ${hex(offset + at)} ${hex(size)}`;
    return {
      sizeBytes,
      blockBytes: 1,
      select: `sf probe ${bus}`,
      write: (address, at, size) => `sf update ${where(address, at, size)}`,
      read: (address, at, size) => `sf read ${where(address, at, size)}`,
    };
  }
  const { interface: name, device, startBlock, blocks } = slot;
  const where = (address: number, at: number, size: number): string =>
    `${hex(address)} ${hex(startBlock + at / blockBytes)} ${hex(Math.ceil(size / blockBytes))}`;
  return {
    sizeBytes: blocks * blockBytes,
    blockBytes,
    select: `${name} dev ${device}`,
    write: (address, at, size) => `${name} write ${where(address, at, size)}`,
    read: (address, at, size) => `${name} read ${where(address, at, size)}`,
  };
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
