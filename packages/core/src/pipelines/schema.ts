import * as v from 'valibot';
import { sourceFields } from '../builds/schema.ts';
import { boardPlaceFields, placeFields, vmPlaceFields } from '../deployments/schema.ts';
import { millisecondsField } from '../model/fields.ts';
import type { PipelineRequest } from '../model/pipeline.ts';
import { askerFields, buildRequirementFields, priorityField } from '../selection/schema.ts';
import { testConfigSchema } from '../testruns/schema.ts';

const fields = {
  ...sourceFields,
  name: v.exactOptional(v.pipe(v.string('must be a string'), v.maxLength(255, 'must have at most 255 characters'))),
  buildRequirements: v.exactOptional(v.strictObject(buildRequirementFields)),
  tests: testConfigSchema,
  ...askerFields,
  timeoutMs: v.exactOptional(millisecondsField),
  priority: v.exactOptional(priorityField),
};

/** Schema of a {@link PipelineRequest}. */
export const pipelineRequestSchema: v.GenericSchema<unknown, PipelineRequest> = v.variant(
  'environmentType',
  [
    v.strictObject({
      ...fields,
      environmentType: v.literal('qemu'),
      environmentConfig: v.exactOptional(v.strictObject({ ...placeFields, ...vmPlaceFields })),
    }),
    v.strictObject({
      ...fields,
      environmentType: v.literal('physical_board'),
      environmentConfig: v.exactOptional(v.strictObject({ ...placeFields, ...boardPlaceFields })),
    }),
  ],
  'must be qemu or physical_board',
);
