/** Target architectures, by the names users know. */
export const architectures = ['x86_64', 'arm64', 'armv7', 'riscv64'] as const;

/** A target architecture. */
export type Architecture = (typeof architectures)[number];

/** What the architecture is called elsewhere. */
export interface ArchitectureNames {
  /** `ARCH=` of the Linux build. */
  readonly linux: string;
  /** Folder below `arch/` and path of the default kernel image in a Linux build tree. */
  readonly kernelImage: string;
  /** GNU target triplet prefix of the usual cross tools, without the dash. */
  readonly gnuTriplet: string;
  /** Suffix of `qemu-system-…`, and libvirt's name. */
  readonly qemu: string;
  /** What `uname -m` prints on such a machine. */
  readonly uname: string;
  /** Serial console of QEMU's default machine, for `console=`. */
  readonly qemuConsole: string;
}

/** Names of each architecture in the tools we drive. */
export const architectureNames: Readonly<Record<Architecture, ArchitectureNames>> = {
  x86_64: {
    linux: 'x86_64',
    kernelImage: 'arch/x86/boot/bzImage',
    gnuTriplet: 'x86_64-linux-gnu',
    qemu: 'x86_64',
    uname: 'x86_64',
    qemuConsole: 'ttyS0',
  },
  arm64: {
    linux: 'arm64',
    kernelImage: 'arch/arm64/boot/Image',
    gnuTriplet: 'aarch64-linux-gnu',
    qemu: 'aarch64',
    uname: 'aarch64',
    qemuConsole: 'ttyAMA0',
  },
  armv7: {
    linux: 'arm',
    kernelImage: 'arch/arm/boot/zImage',
    gnuTriplet: 'arm-linux-gnueabihf',
    qemu: 'arm',
    uname: 'armv7l',
    qemuConsole: 'ttyAMA0',
  },
  riscv64: {
    linux: 'riscv',
    kernelImage: 'arch/riscv/boot/Image',
    gnuTriplet: 'riscv64-linux-gnu',
    qemu: 'riscv64',
    uname: 'riscv64',
    qemuConsole: 'ttyS0',
  },
};
