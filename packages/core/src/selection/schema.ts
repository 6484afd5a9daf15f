import * as v from 'valibot';
import type { Architecture } from '../model/architecture.ts';
import { recipes } from '../model/build.ts';
import {
  architectureField,
  countField,
  idField,
  labelsField,
  minimumFields,
  type OptionalField,
} from '../model/fields.ts';
import type { BoardRequirements, BuildRequirements, VmRequirements } from '../model/requirements.ts';
import { resourceKinds } from '../model/resource.ts';
import type { CapacityRequest } from '../pool/reservations.ts';

const text = v.string('must be a string');
const names = v.array(idField, 'must be a list of names');
const flag = v.boolean('must be true or false');
const amount = v.pipe(v.number('must be a number'), v.minValue(0, 'must not be negative'), v.finite('must be finite'));

/** What a build may ask of its server. */
export const buildRequirementFields: {
  readonly requiredToolchain: OptionalField<string>;
  readonly requiredLabels: OptionalField<Record<string, string>>;
  readonly groupId: OptionalField<string>;
  readonly minCpuCores: OptionalField<number>;
  readonly minMemoryMb: OptionalField<number>;
  readonly minStorageGb: OptionalField<number>;
} = {
  requiredToolchain: v.exactOptional(v.picklist(['gcc', 'clang'], 'must be gcc or clang')),
  requiredLabels: v.exactOptional(labelsField),
  groupId: v.exactOptional(idField),
  ...minimumFields,
};

/** Which board is taken. */
export const boardRequirementFields: {
  readonly boardId: OptionalField<string>;
  readonly boardTypes: OptionalField<string[]>;
  readonly requiredPeripherals: OptionalField<string[]>;
  readonly firmwareVersion: OptionalField<string>;
} = {
  boardId: v.exactOptional(idField),
  boardTypes: v.exactOptional(names),
  requiredPeripherals: v.exactOptional(names),
  firmwareVersion: v.exactOptional(idField),
};

/** Who asks, as policies know them. */
export const askerFields: { readonly team: OptionalField<string>; readonly requester: OptionalField<string> } = {
  team: v.exactOptional(idField),
  requester: v.exactOptional(idField),
};

/** Which request goes first. */
export const priorityField: v.GenericSchema<unknown, number> = v.pipe(
  v.number('must be a number'),
  v.integer('must be a whole number'),
);

/** Schema of {@link BuildRequirements}. */
export const buildRequirementsSchema: v.GenericSchema<unknown, BuildRequirements> = v.strictObject({
  targetArchitecture: architectureField,
  ...buildRequirementFields,
  ...askerFields,
  sourceRepository: v.exactOptional(idField),
  recipe: v.exactOptional(v.picklist(recipes, `must be one of ${recipes.join(', ')}`)),
  preferredServerId: v.exactOptional(idField),
  serverId: v.exactOptional(idField),
});

const place: {
  readonly architecture: v.GenericSchema<unknown, Architecture>;
  readonly requiredLabels: OptionalField<Record<string, string>>;
  readonly groupId: OptionalField<string>;
} = {
  architecture: architectureField,
  requiredLabels: v.exactOptional(labelsField),
  groupId: v.exactOptional(idField),
};

/** Schema of {@link VmRequirements}. */
export const vmRequirementsSchema: v.GenericSchema<unknown, VmRequirements> = v.strictObject({
  ...place,
  ...minimumFields,
  ...askerFields,
  requireKvm: v.exactOptional(flag),
  requireNestedVirt: v.exactOptional(flag),
  preferredHostId: v.exactOptional(idField),
  hostId: v.exactOptional(idField),
});

/** Schema of {@link BoardRequirements}. */
export const boardRequirementsSchema: v.GenericSchema<unknown, BoardRequirements> = v.strictObject({
  ...place,
  ...boardRequirementFields,
  ...askerFields,
  preferredBoardId: v.exactOptional(idField),
});

/** Schema of a {@link CapacityRequest}. */
export const capacityRequestSchema: v.GenericSchema<unknown, CapacityRequest> = v.strictObject({
  kind: v.picklist(resourceKinds, `must be one of ${resourceKinds.join(', ')}`),
  architecture: architectureField,
  traits: v.array(
    v.pipe(
      v.array(
        v.strictObject({
          trait: idField,
          requirement: idField,
          wanted: v.union([text, flag], 'must be a string, true or false'),
        }),
        'must be a list of traits',
      ),
      v.minLength(1, 'name at least one trait'),
    ),
    'must be a list of lists of traits',
  ),
  use: v.strictObject({ slots: countField, cpu: amount, memoryMb: amount, storageGb: amount }, 'say what it takes'),
  minimum: v.strictObject({ cpu: amount, memoryMb: amount, storageGb: amount }, 'say what it must have'),
  only: v.exactOptional(idField),
  preferred: v.exactOptional(idField),
  exclude: v.exactOptional(v.array(idField, 'must be a list of ids')),
  repository: v.exactOptional(idField),
  firmwareVersion: v.exactOptional(idField),
  groupId: v.exactOptional(idField),
  ...askerFields,
});

/** Schema of a build whose duration is asked for. */
export const estimatedBuildSchema: v.GenericSchema<
  unknown,
  { repository: string; architecture: Architecture; serverId?: string }
> = v.strictObject({ repository: idField, architecture: architectureField, serverId: v.exactOptional(idField) });
