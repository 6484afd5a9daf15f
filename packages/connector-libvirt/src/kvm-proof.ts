import { posix } from 'node:path';
import { isBringupError, limits, newId, sleep, withDeadline } from '@bringup/core';
import type { Architecture, Clock, Random, ShellSession } from '@bringup/core';
import { libvirtArchitectures } from './capabilities.ts';
import type { Daemon } from './daemon.ts';
import { bytesSource } from './vm-folder.ts';
import { element, writeXml } from './xml.ts';

/** Between two looks whether the guest has ended. */
const pollMs = 50;

/**
 * A kernel that does nothing but end its machine. On x86 a multiboot image of 44 bytes that resets
 * by a triple fault; on arm64 an Image (Documentation/arch/arm64/booting.rst) that calls PSCI
 * SYSTEM_OFF. Undefined where there is none.
 */
export function endingGuest(architecture: Architecture): Uint8Array | undefined {
  if (architecture === 'x86_64') {
    const base = 0x10_0000;
    const image = Buffer.alloc(48);
    const header = [0x1bad_b002, 0x0001_0000, -(0x1bad_b002 + 0x0001_0000) >>> 0, base, base, 0, 0, base + 32];
    header.forEach((word, index) => image.writeUInt32LE(word, 4 * index));
    // lidt [base + 40], an interrupt table of length 0; int3
    image.set([0x0f, 0x01, 0x1d, 0x28, 0x00, 0x10, 0x00, 0xcc], 32);
    return image;
  }
  if (architecture === 'arm64') {
    const image = Buffer.alloc(80);
    image.writeUInt32LE(0x1400_0010, 0); // b #64
    image.writeBigUInt64LE(BigInt(image.length), 16);
    image.writeBigUInt64LE(0x0an, 24); // little-endian, 4 KiB pages, anywhere in memory
    image.write('ARM\x64', 56, 'latin1');
    // movz w0, #0x8400, lsl #16; movk w0, #8; hvc #0; b .
    [0x52b0_8000, 0x7280_0100, 0xd400_0002, 0x1400_0000].forEach((word, index) =>
      image.writeUInt32LE(word, 64 + 4 * index),
    );
    return image;
  }
  return undefined;
}

function guestXml(name: string, kernel: string, architecture: Architecture): string {
  return writeXml(
    element('domain', { type: 'kvm' }, [
      element('name', {}, [name]),
      element('memory', { unit: 'MiB' }, ['64']),
      element('os', {}, [
        element(
          'type',
          { arch: libvirtArchitectures[architecture], machine: architecture === 'x86_64' ? 'pc' : 'virt' },
          ['hvm'],
        ),
        element('kernel', {}, [kernel]),
      ]),
      element('cpu', { mode: 'host-passthrough' }),
      element('on_reboot', {}, ['destroy']),
      element('devices', {}, [
        architecture === 'x86_64' ? element('controller', { type: 'usb', model: 'none' }) : undefined,
        element('memballoon', { model: 'none' }),
      ]),
    ]),
  );
}

/** What {@link provesKvm} works with. */
export interface KvmProofParts {
  readonly daemon: Daemon;
  readonly shell: ShellSession;
  readonly workspace: string;
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * Whether a guest really runs under KVM on the host: one is started that ends itself, and it must
 * do so within `limits.kvmProofTimeoutMs`. On some hosts /dev/kvm opens, libvirt advertises KVM and
 * every guest hangs.
 * @throws `connection-lost`; a host that refuses is no proof, not an error.
 */
export async function provesKvm(parts: KvmProofParts, architecture: Architecture): Promise<boolean> {
  const image = endingGuest(architecture);
  if (image === undefined) return false;
  const { daemon, shell, clock } = parts;
  const name = `bringup-kvm-proof-${newId(clock, parts.random)}`;
  const kernel = posix.join(parts.workspace, `.${name}`);
  try {
    await shell.exec(['mkdir', '-p', '--', parts.workspace]);
    await shell.upload(bytesSource(image), kernel);
    const domain = await daemon.runTransient(guestXml(name, kernel, architecture), {});
    try {
      const ended = async (signal: AbortSignal): Promise<boolean> => {
        while ((await daemon.lookUp(name, { signal })) !== undefined) await sleep(clock, pollMs, signal);
        return true;
      };
      return await withDeadline(clock, 'KVM proof', { timeoutMs: limits.kvmProofTimeoutMs }, ended);
    } finally {
      // A guest that hangs in KVM takes libvirt ten seconds to kill: nobody has to wait for that.
      void daemon.destroy(domain, {}).catch(() => {});
    }
  } catch (error) {
    if (isBringupError(error, 'connection-lost')) throw error;
    return false;
  } finally {
    await shell.exec(['rm', '-f', '--', kernel]).catch(() => {});
  }
}
