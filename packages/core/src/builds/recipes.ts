import { posix } from 'node:path';
import { BringupError } from '../errors.ts';
import { architectureNames, type Architecture } from '../model/architecture.ts';
import type { BuildConfig, KernelBuildConfig, OutputDeclaration } from '../model/build.ts';
import type { Toolchain } from '../model/resource.ts';
import { kernelRecipe, makeRecipe, scriptRecipe } from './scripts.ts';

/** How a configuration is carried out on a server. */
export interface BuildPlan {
  /** Recipe script and its arguments. */
  readonly script: string;
  readonly args: readonly string[];
  /** `NAME=value` for `env`. */
  readonly environment: readonly string[];
  /** Folder of the job below which outputs are looked for. */
  readonly outputFolder: 'src' | 'out';
  readonly outputs: readonly OutputDeclaration[];
}

/**
 * Plans a build.
 * @throws `toolchain-missing` when the server has no compiler for the architecture.
 */
export function planBuild(
  config: BuildConfig,
  architecture: Architecture,
  toolchains: readonly Toolchain[],
  wantedToolchain: string | undefined,
): BuildPlan {
  const environment = Object.entries(config.customEnv ?? {}).map(([name, value]) => `${name}=${value}`);
  const extra = config.extraMakeArgs ?? [];
  switch (config.recipe) {
    case 'kernel': {
      const toolchain = pickToolchain(architecture, toolchains, wantedToolchain);
      return {
        script: kernelRecipe,
        args: [...kernelArguments(config, architecture, toolchain), ...extra],
        environment,
        outputFolder: 'out',
        outputs: kernelOutputs(config, architecture),
      };
    }
    case 'make':
      return {
        script: makeRecipe,
        args: [config.directory ?? '.', ...(config.targets ?? []), ...extra],
        environment,
        outputFolder: 'src',
        outputs: config.outputs.map((output) => ({
          ...output,
          path: posix.join(config.directory ?? '.', output.path),
        })),
      };
    case 'script':
      return {
        script: scriptRecipe,
        args: [config.script, ...extra],
        environment,
        outputFolder: 'src',
        outputs: config.outputs,
      };
  }
}

function pickToolchain(
  architecture: Architecture,
  toolchains: readonly Toolchain[],
  wanted: string | undefined,
): Toolchain {
  const fitting = toolchains.filter((t) => t.targetArchitecture === architecture && (wanted ?? t.name) === t.name);
  const toolchain = fitting.find((t) => t.name === 'gcc') ?? fitting[0];
  if (toolchain !== undefined) return toolchain;
  throw new BringupError('toolchain-missing', `the server has no ${wanted ?? 'compiler'} for ${architecture}`, {
    details: { architecture, installed: toolchains.map((t) => `${t.name} for ${t.targetArchitecture}`) },
  });
}

function kernelArguments(config: KernelBuildConfig, architecture: Architecture, toolchain: Toolchain): string[] {
  const names = architectureNames[architecture];
  const binary = posix.basename(toolchain.path);
  const [, crossPrefix = '', version = ''] = /^(.*-)?(?:gcc|clang)(-.*)?$/.exec(binary) ?? [];
  // A compiler that goes by its version alone: the kernel's makefiles would look for the plain name.
  const versioned = version === '' ? [] : [...(toolchain.name === 'clang' ? [`LLVM=${version}`] : []), `CC=${binary}`];
  return [
    names.linux,
    toolchain.name === 'gcc' ? crossPrefix : '',
    toolchain.name,
    config.kernelConfig ?? 'defconfig',
    config.configFragment ?? '',
    (config.enableModules ?? true) ? '1' : '0',
    (config.buildDtbs ?? true) ? '1' : '0',
    names.kernelImage,
    ...versioned,
  ];
}

function kernelOutputs(config: KernelBuildConfig, architecture: Architecture): OutputDeclaration[] {
  const { kernelImage } = architectureNames[architecture];
  const trees = `${posix.dirname(kernelImage)}/dts`;
  return [
    { type: 'kernel_image', path: kernelImage },
    { type: 'kernel_config', path: '.config' },
    ...((config.enableModules ?? true)
      ? [{ type: 'kernel_modules' as const, path: 'modules.tar', required: false }]
      : []),
    ...((config.buildDtbs ?? true)
      ? [
          { type: 'device_tree' as const, path: `${trees}/*.dtb`, required: false },
          { type: 'device_tree' as const, path: `${trees}/*/*.dtb`, required: false },
        ]
      : []),
  ];
}
