import type { Options } from 'tsup';

/** How every package is built: ES modules and declarations; what it depends on stays outside. */
export function library(entry: Record<string, string>): Options {
  return {
    entry,
    format: 'esm',
    target: 'node22.18',
    platform: 'node',
    // Core's types come from core: a copy of them in a connector would be other types.
    external: [/^@bringup\//],
    // node:sqlite exists under no other name.
    removeNodeProtocol: false,
    splitting: true,
    treeshake: false,
    sourcemap: false,
    clean: true,
    dts: true,
  };
}
