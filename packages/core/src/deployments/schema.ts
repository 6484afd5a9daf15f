import * as v from 'valibot';
import { artifactSelectionSchema } from '../artifacts/schema.ts';
import type { BootConfig, QemuDeploymentRequest, VmConfig } from '../model/deployment.ts';
import { architectureField, countField, idField, labelsField, millisecondsField, noNul } from '../model/fields.ts';
import { compilePattern } from '../consoles/patterns.ts';

const word = v.pipe(v.string('must be a string'), v.regex(/^[A-Za-z0-9][A-Za-z0-9._,+=-]*$/, 'must be a single word'));

/** Schema of a {@link VmConfig}. */
export const vmConfigSchema: v.GenericSchema<unknown, VmConfig> = v.strictObject({
  cpus: v.exactOptional(countField),
  memoryMb: v.exactOptional(countField),
  commandLine: v.exactOptional(
    v.pipe(
      noNul('must be a string'),
      v.regex(/^[^\r\n]*$/, 'must be one line'),
      v.maxLength(2048, 'must have at most 2048 characters'),
    ),
  ),
  machine: v.exactOptional(word),
  cpuModel: v.exactOptional(word),
  accelerator: v.exactOptional(v.picklist(['auto', 'kvm', 'tcg'], 'must be auto, kvm or tcg')),
  deviceTree: v.exactOptional(v.pipe(v.string('must be a string'), v.nonEmpty('must not be empty'))),
});

const pattern = v.pipe(
  v.union(
    [
      v.pipe(v.string(), v.nonEmpty('must not be empty')),
      v.strictObject({
        regex: v.pipe(v.string(), v.nonEmpty('must not be empty')),
        flags: v.exactOptional(v.string()),
      }),
    ],
    'must be a string or { regex, flags }',
  ),
  v.check((value) => compiles(value), 'must be a valid regular expression'),
);

/** Schema of a {@link BootConfig}. */
export const bootConfigSchema: v.GenericSchema<unknown, BootConfig> = v.strictObject({
  successPatterns: v.exactOptional(v.pipe(v.array(pattern), v.minLength(1, 'name at least one pattern'))),
  ignoreSignatures: v.exactOptional(v.array(v.string('must be the id of a signature'))),
  timeoutMs: v.exactOptional(millisecondsField),
  silenceMs: v.exactOptional(millisecondsField),
});

/** Schema of a {@link QemuDeploymentRequest}. */
export const qemuDeploymentSchema: v.GenericSchema<unknown, QemuDeploymentRequest> = v.strictObject({
  artifacts: artifactSelectionSchema,
  extraArtifactIds: v.exactOptional(v.array(idField)),
  architecture: v.exactOptional(architectureField),
  vm: v.exactOptional(vmConfigSchema),
  boot: v.exactOptional(bootConfigSchema),
  hostId: v.exactOptional(idField),
  requiredLabels: v.exactOptional(labelsField),
  keepMs: v.exactOptional(millisecondsField),
  timeoutMs: v.exactOptional(millisecondsField),
  priority: v.exactOptional(v.pipe(v.number('must be a number'), v.integer('must be a whole number'))),
});

function compiles(value: string | { readonly regex: string; readonly flags?: string | undefined }): boolean {
  try {
    compilePattern(
      typeof value === 'string'
        ? value
        : { regex: value.regex, ...(value.flags !== undefined && { flags: value.flags }) },
    );
    return true;
  } catch {
    return false;
  }
}
