import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

const firmware = '/usr/lib/u-boot/qemu_arm64/u-boot.bin';
/** As large as the image of the flash contract. */
export const slotBytes: number = 1024 * 1024;
const startBlock = 64;
/** `__SO_ACCEPTCON` among a socket's flags in /proc/net/unix. */
const listening = '00010000';

/** An arm64 board with a real U-Boot, a disk, and a network with a TFTP server: QEMU, which starts once its console is open. */
export class UBootBoard implements AsyncDisposable {
  readonly dir: string;
  #qemu: ChildProcess | undefined;

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async start(): Promise<UBootBoard> {
    const board = new UBootBoard(await mkdtemp(join(tmpdir(), 'bringup-uboot-')));
    await mkdir(board.tftp);
    await writeFile(board.disk, '');
    await truncate(board.disk, 8 * slotBytes);
    await board.powerOn();
    return board;
  }

  get tftp(): string {
    return join(this.dir, 'tftp');
  }

  get disk(): string {
    return join(this.dir, 'disk');
  }

  /** Where its console is. */
  get device(): string {
    return `unix://${this.dir}/console`;
  }

  /** The board's one slot. */
  get slot(): { interface: 'virtio'; device: number; startBlock: number; blocks: number } {
    return { interface: 'virtio', device: 0, startBlock, blocks: slotBytes / 512 };
  }

  async powerOn(): Promise<void> {
    await rm(join(this.dir, 'console'), { force: true });
    const argv = [
      ...['-M', 'virt', '-cpu', 'cortex-a57', '-m', '256', '-display', 'none', '-nodefaults', '-bios', firmware],
      ...['-netdev', `user,id=net,restrict=on,tftp=${this.tftp}`, '-device', 'virtio-net-pci,netdev=net,romfile='],
      ...['-drive', `file=${this.disk},format=raw,if=none,id=disk`, '-device', 'virtio-blk-pci,drive=disk'],
      ...['-serial', `unix:${this.dir}/console,server=on,wait=on`],
    ];
    this.#qemu = spawn('qemu-system-aarch64', argv, { stdio: ['ignore', 'ignore', 'inherit'] });
    const failed = once(this.#qemu, 'exit').then(() => {
      throw new Error('QEMU does not run');
    });
    failed.catch(() => {});
    await Promise.race([this.#listens(), failed]);
  }

  async powerOff(): Promise<void> {
    const qemu = this.#qemu;
    this.#qemu = undefined;
    if (qemu === undefined || qemu.exitCode !== null || qemu.signalCode !== null) return;
    qemu.kill('SIGKILL');
    await once(qemu, 'exit');
  }

  /** What the slot holds. */
  async contents(): Promise<Uint8Array> {
    await using file = await open(this.disk, 'r');
    const bytes = Buffer.alloc(slotBytes);
    await file.read(bytes, 0, slotBytes, startBlock * 512);
    return bytes;
  }

  /** Damages a byte of the medium. */
  async damage(): Promise<void> {
    await using file = await open(this.disk, 'r+');
    const byte = Buffer.alloc(1);
    const at = startBlock * 512 + 4_321;
    await file.read(byte, 0, 1, at);
    await file.write(Uint8Array.of((byte[0] ?? 0) ^ 0x10), 0, 1, at);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.powerOff();
    await rm(this.dir, { recursive: true, force: true });
  }

  /** It is bound, and there as a file, a moment before it listens; and to connect would be to open the console. */
  async #listens(): Promise<void> {
    const there = async (): Promise<boolean> =>
      (await readFile('/proc/net/unix', 'utf8'))
        .split('\n')
        .some((line) => line.endsWith(` ${this.dir}/console`) && line.split(/\s+/)[3] === listening);
    while (!(await there())) await pause(20);
  }
}
