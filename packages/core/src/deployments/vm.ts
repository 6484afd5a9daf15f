import type { VmSpec } from '../contracts/hypervisor.ts';
import { BringupError } from '../errors.ts';
import { architectureNames, type Architecture } from '../model/architecture.ts';
import type { Artifact, ArtifactType } from '../model/artifact.ts';
import type { QemuDeploymentRequest, VmConfig } from '../model/deployment.ts';

/** What a VM boots from. */
export interface BootFiles {
  readonly kernel: Artifact;
  readonly initrd?: Artifact;
  readonly deviceTree?: Artifact;
  readonly rootfs?: Artifact;
}

/** Defaults of a VM. */
export const vmDefaults = { cpus: 1, memoryMb: 256 } as const;

/**
 * Picks what a VM boots from; extra files win over those of the build.
 * @throws `artifact-not-found` without a kernel image or the device tree asked for;
 * `architecture-mismatch` when a file is for another architecture.
 */
export function pickBootFiles(
  built: readonly Artifact[],
  extra: readonly Artifact[],
  config: VmConfig,
  wanted: Architecture | undefined,
): BootFiles & { readonly architecture: Architecture } {
  const files = [...extra, ...built];
  const first = (type: ArtifactType): Artifact | undefined => files.find((file) => file.artifactType === type);
  const kernel = first('kernel_image');
  if (kernel === undefined) {
    const made = built.map((file) => file.filename);
    throw new BringupError('artifact-not-found', `there is no kernel image among ${made.join(', ') || 'no files'}`, {
      details: { wanted: 'kernel_image', made },
    });
  }
  const architecture = wanted ?? kernel.architecture;
  const deviceTree = config.deviceTree === undefined ? undefined : namedTree(files, config.deviceTree);
  const initrd = first('initrd');
  const rootfs = first('rootfs');
  for (const file of [kernel, initrd, deviceTree, rootfs]) {
    if (file === undefined || file.architecture === architecture) continue;
    throw new BringupError(
      'architecture-mismatch',
      `${file.filename} is for ${file.architecture}, the VM is ${architecture}`,
      { details: { artifactId: file.id, architecture: file.architecture, wanted: architecture } },
    );
  }
  return {
    architecture,
    kernel,
    ...(initrd !== undefined && { initrd }),
    ...(deviceTree !== undefined && { deviceTree }),
    ...(rootfs !== undefined && { rootfs }),
  };
}

function namedTree(files: readonly Artifact[], name: string): Artifact {
  const trees = files.filter((file) => file.artifactType === 'device_tree');
  const tree = trees.find((file) => file.filename === name || file.filename.endsWith(`/${name}`));
  if (tree !== undefined) return tree;
  throw new BringupError('artifact-not-found', `there is no device tree ${name}`, {
    details: { wanted: name, suggestions: trees.map((file) => file.filename).slice(0, 20) },
  });
}

/** The VM that boots these files from these paths. */
export function vmSpec(
  name: string,
  request: QemuDeploymentRequest,
  files: BootFiles & { readonly architecture: Architecture },
  paths: ReadonlyMap<string, string>,
  tags: Readonly<Record<string, string>>,
): VmSpec {
  const { vm = {} } = request;
  const at = (file: Artifact | undefined): string | undefined => file && paths.get(file.id);
  const kernel = at(files.kernel);
  if (kernel === undefined) throw new TypeError('the kernel was transferred');
  const initrd = at(files.initrd);
  const deviceTree = at(files.deviceTree);
  const rootfs = at(files.rootfs);
  return {
    name,
    architecture: files.architecture,
    cpus: vm.cpus ?? vmDefaults.cpus,
    memoryMb: vm.memoryMb ?? vmDefaults.memoryMb,
    kernel,
    commandLine: vm.commandLine ?? defaultCommandLine(files),
    tags,
    ...(initrd !== undefined && { initrd }),
    ...(deviceTree !== undefined && { deviceTree }),
    ...(rootfs !== undefined && {
      rootfs: { path: rootfs, format: files.rootfs?.filename.endsWith('.qcow2') === true ? 'qcow2' : 'raw' },
    }),
    ...(vm.machine !== undefined && { machine: vm.machine }),
    ...(vm.cpuModel !== undefined && { cpuModel: vm.cpuModel }),
    ...(vm.accelerator !== undefined && { accelerator: vm.accelerator }),
    ...(vm.display !== undefined && { display: vm.display }),
  };
}

/** A panic must end the VM at once instead of leaving it to the time-out. */
function defaultCommandLine(files: BootFiles & { readonly architecture: Architecture }): string {
  const console = `console=${architectureNames[files.architecture].qemuConsole} panic=-1`;
  return files.rootfs === undefined ? console : `${console} root=/dev/vda rw`;
}
