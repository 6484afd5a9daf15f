import * as v from 'valibot';
import { artifactSelectionSchema } from '../artifacts/schema.ts';
import { artifactTypes } from '../model/artifact.ts';
import type {
  BoardDeploymentRequest,
  BootConfig,
  FlashSlot,
  QemuDeploymentRequest,
  VmConfig,
} from '../model/deployment.ts';
import {
  architectureField,
  countField,
  idField,
  labelsField,
  millisecondsField,
  noNul,
  type OptionalField,
} from '../model/fields.ts';
import { askerFields, boardRequirementFields, priorityField } from '../selection/schema.ts';
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
  display: v.exactOptional(v.boolean('must be true or false')),
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

/** Schema of what goes where in a board's flash. */
export const flashSlotsSchema: v.GenericSchema<unknown, FlashSlot[]> = v.pipe(
  v.array(
    v.pipe(
      v.strictObject({
        slot: word,
        artifactType: v.exactOptional(v.picklist(artifactTypes, `must be one of ${artifactTypes.join(', ')}`)),
        filename: v.exactOptional(v.pipe(v.string('must be a string'), v.nonEmpty('must not be empty'))),
      }),
      v.check(({ artifactType, filename }) => (artifactType ?? filename) !== undefined, 'set artifactType or filename'),
    ),
  ),
  v.minLength(1, 'name at least one slot'),
);

/** Where a VM goes, and how it is. */
export const vmPlaceFields: { readonly vm: OptionalField<VmConfig>; readonly hostId: OptionalField<string> } = {
  vm: v.exactOptional(vmConfigSchema),
  hostId: v.exactOptional(idField),
};

/** Which board is taken, and what is flashed where. */
export const boardPlaceFields: typeof boardRequirementFields & { readonly slots: OptionalField<FlashSlot[]> } = {
  ...boardRequirementFields,
  slots: v.exactOptional(flashSlotsSchema),
};

/** Fields of any deployment that a pipeline's environment has, too. */
export const placeFields: {
  readonly boot: OptionalField<BootConfig>;
  readonly requiredLabels: OptionalField<Record<string, string>>;
  readonly groupId: OptionalField<string>;
  readonly extraArtifactIds: OptionalField<string[]>;
} = {
  boot: v.exactOptional(bootConfigSchema),
  requiredLabels: v.exactOptional(labelsField),
  groupId: v.exactOptional(idField),
  extraArtifactIds: v.exactOptional(v.array(idField)),
};

const deploymentFields = {
  ...placeFields,
  artifacts: artifactSelectionSchema,
  architecture: v.exactOptional(architectureField),
  keepMs: v.exactOptional(millisecondsField),
  timeoutMs: v.exactOptional(millisecondsField),
  priority: v.exactOptional(priorityField),
};

/** Schema of a {@link QemuDeploymentRequest}. */
export const qemuDeploymentSchema: v.GenericSchema<unknown, QemuDeploymentRequest> = v.strictObject({
  ...deploymentFields,
  ...vmPlaceFields,
  ...askerFields,
});

/** Schema of a {@link BoardDeploymentRequest}. */
export const boardDeploymentSchema: v.GenericSchema<unknown, BoardDeploymentRequest> = v.strictObject({
  ...deploymentFields,
  ...boardPlaceFields,
  ...askerFields,
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
