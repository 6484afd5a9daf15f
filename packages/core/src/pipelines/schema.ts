import * as v from 'valibot';
import { buildRequirementFields, sourceFields } from '../builds/schema.ts';
import { bootConfigSchema, vmConfigSchema } from '../deployments/schema.ts';
import { idField, labelsField, millisecondsField } from '../model/fields.ts';
import type { PipelineRequest } from '../model/pipeline.ts';
import { testConfigSchema } from '../testruns/schema.ts';

/** Schema of a {@link PipelineRequest}. */
export const pipelineRequestSchema: v.GenericSchema<unknown, PipelineRequest> = v.strictObject({
  ...sourceFields,
  name: v.exactOptional(v.pipe(v.string('must be a string'), v.maxLength(255, 'must have at most 255 characters'))),
  buildRequirements: v.exactOptional(v.strictObject(buildRequirementFields)),
  environmentType: v.literal('qemu', "must be 'qemu'"),
  environmentConfig: v.exactOptional(
    v.strictObject({
      vm: v.exactOptional(vmConfigSchema),
      boot: v.exactOptional(bootConfigSchema),
      hostId: v.exactOptional(idField),
      requiredLabels: v.exactOptional(labelsField),
      extraArtifactIds: v.exactOptional(v.array(idField)),
    }),
  ),
  tests: testConfigSchema,
  timeoutMs: v.exactOptional(millisecondsField),
  priority: v.exactOptional(v.pipe(v.number('must be a number'), v.integer('must be a whole number'))),
});
