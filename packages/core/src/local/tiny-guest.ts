/** How {@link tinyGuestImage} behaves: what a test of a hypervisor expects of the guest. */
export const tinyGuest = {
  /** What it prints first; its command line and CR LF follow. */
  greeting: 'tiny-guest ',
  /** The byte on which it resets the machine. Every other byte comes back as it is. */
  quit: 'q',
} as const;

// Where the image lies in memory, and where its parts lie in the image.
const base = 0x10_0000;
const codeAt = 0x20;
const tablesAt = 0xc4;
const gateAt = 0xe6;
const interruptAt = 0xbd;

// Multiboot 1: the loader leaves us in 32-bit protected mode with flat segments and a pointer to the
// command line at [ebx+16]. https://www.gnu.org/software/grub/manual/multiboot/multiboot.html
const multibootMagic = 0x1bad_b002;
const multibootHasAddresses = 0x0001_0000;

// prettier-ignore
const code = Uint8Array.of(
  // entry:
  0xfa, // cli
  0xbc, 0x00, 0x00, 0x08, 0x00, // mov esp,0x80000
  0xff, 0x73, 0x10, // push [ebx+0x10]
  0xbe, 0xee, 0x00, 0x10, 0x00, // mov esi,0x1000ee
  0xe8, 0x6e, 0x00, 0x00, 0x00, // call puts
  0x5e, // pop esi
  0xe8, 0x68, 0x00, 0x00, 0x00, // call puts
  0xbe, 0xfa, 0x00, 0x10, 0x00, // mov esi,0x1000fa
  0xe8, 0x5e, 0x00, 0x00, 0x00, // call puts
  0x0f, 0x01, 0x15, 0xc4, 0x00, 0x10, 0x00, // lgdtd 0x1000c4
  0x0f, 0x01, 0x1d, 0xca, 0x00, 0x10, 0x00, // lidtd 0x1000ca
  0xea, 0x58, 0x00, 0x10, 0x00, 0x08, 0x00, // jmp 0x8:0x100058
  // flat:
  0xb0, 0x11, // mov al,0x11
  0xe6, 0x20, // out 0x20,al
  0xb0, 0x20, // mov al,0x20
  0xe6, 0x21, // out 0x21,al
  0xb0, 0x04, // mov al,0x4
  0xe6, 0x21, // out 0x21,al
  0xb0, 0x01, // mov al,0x1
  0xe6, 0x21, // out 0x21,al
  0xb0, 0xef, // mov al,0xef
  0xe6, 0x21, // out 0x21,al
  0xba, 0xf9, 0x03, 0x00, 0x00, // mov edx,0x3f9
  0xb0, 0x01, // mov al,0x1
  0xee, // out dx,al
  0xba, 0xfc, 0x03, 0x00, 0x00, // mov edx,0x3fc
  0xb0, 0x0b, // mov al,0xb
  0xee, // out dx,al
  // poll:
  0xfa, // cli
  0xba, 0xfd, 0x03, 0x00, 0x00, // mov edx,0x3fd
  0xec, // in al,dx
  0xa8, 0x01, // test al,0x1
  0x75, 0x04, // jne receive
  0xfb, // sti
  0xf4, // hlt
  0xeb, 0xf1, // jmp poll
  // receive:
  0xb2, 0xf8, // mov dl,0xf8
  0xec, // in al,dx
  0x3c, 0x71, // cmp al,0x71
  0x74, 0x07, // je quit
  0xe8, 0x16, 0x00, 0x00, 0x00, // call putc
  0xeb, 0xe3, // jmp poll
  // quit:
  0x0f, 0x01, 0x1d, 0xd0, 0x00, 0x10, 0x00, // lidtd 0x1000d0
  0xcc, // int3
  // puts:
  0xac, // lods
  0x84, 0xc0, // test al,al
  0x74, 0x16, // je done
  0xe8, 0x02, 0x00, 0x00, 0x00, // call putc
  0xeb, 0xf4, // jmp puts
  // putc:
  0x50, // push eax
  0xba, 0xfd, 0x03, 0x00, 0x00, // mov edx,0x3fd
  // ready:
  0xec, // in al,dx
  0xa8, 0x20, // test al,0x20
  0x74, 0xfb, // je ready
  0x58, // pop eax
  0xb2, 0xf8, // mov dl,0xf8
  0xee, // out dx,al
  // done:
  0xc3, // ret
  // interrupt:
  0x50, // push eax
  0xb0, 0x20, // mov al,0x20
  0xe6, 0x20, // out 0x20,al
  0x58, // pop eax
  0xcf, // iret
);

/**
 * A multiboot kernel of 253 bytes for x86 machines with a 16550 at 0x3f8, made without a toolchain.
 * It prints `tiny-guest`, the command line as the loader passed it (QEMU puts the kernel's path in
 * front) and CR LF, then sends back every byte it gets, sleeping in between, until a `q` makes it
 * reset the machine with a triple fault.
 */
export function tinyGuestImage(): Uint8Array {
  const text = new TextEncoder().encode(`${tinyGuest.greeting}\0\r\n\0`);
  const textAt = gateAt + 8;
  const image = new Uint8Array(textAt + text.length);
  const view = new DataView(image.buffer);
  const words = (at: number, values: readonly number[]): void =>
    values.forEach((value, index) => view.setUint32(at + 4 * index, value, true));

  const checksum = -(multibootMagic + multibootHasAddresses) >>> 0;
  words(0, [multibootMagic, multibootHasAddresses, checksum, base, base, 0, 0, base + codeAt]);
  image.set(code, codeAt);

  const gdtAt = tablesAt + 18;
  view.setUint16(tablesAt, 15, true);
  view.setUint32(tablesAt + 2, base + gdtAt, true);
  // Only the gate of IRQ 4 (vector 0x24) exists: the table's base lies as far in front of it.
  view.setUint16(tablesAt + 6, 0x24 * 8 + 7, true);
  view.setUint32(tablesAt + 8, base + gateAt - 0x24 * 8, true);
  // At tablesAt + 12: an interrupt table of length 0, for the triple fault.
  words(gdtAt, [0, 0, 0x0000_ffff, 0x00cf_9a00]);
  words(gateAt, [0x0008_0000 | interruptAt, ((base >>> 16) << 16) | 0x8e00]);

  image.set(text, textAt);
  return image;
}
