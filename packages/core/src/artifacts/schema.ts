import * as v from 'valibot';
import type { ArtifactSelection, RetentionPolicy } from '../model/artifact.ts';
import { architectureField, idField, millisecondsField } from '../model/fields.ts';
import { limits } from '../limits.ts';

const text = v.pipe(v.string('must be a string'), v.nonEmpty('must not be empty'));

/** A name that a person gives a build. */
export const tagField: v.GenericSchema<unknown, string> = v.pipe(
  v.string('must be a string'),
  v.regex(
    /^[A-Za-z0-9][A-Za-z0-9._/+-]*$/,
    'a tag begins with a letter or digit and has letters, digits and . _ / + -',
  ),
  v.maxLength(limits.maxTagChars, `a tag has at most ${limits.maxTagChars} characters`),
);

/** Schema of an {@link ArtifactSelection}. */
export const artifactSelectionSchema: v.GenericSchema<unknown, ArtifactSelection> = v.pipe(
  v.strictObject({
    buildId: v.exactOptional(idField),
    commitHash: v.exactOptional(text),
    tag: v.exactOptional(text),
    branch: v.exactOptional(text),
    useLatest: v.exactOptional(v.boolean('must be true or false')),
    sourceRepository: v.exactOptional(text),
    architecture: v.exactOptional(architectureField),
  }),
  v.check(
    ({ buildId, commitHash, tag, branch, useLatest }) =>
      (buildId ?? commitHash ?? tag ?? branch) !== undefined || useLatest === true,
    'set buildId, commitHash, tag, branch or useLatest',
  ),
);

const bytesField = v.pipe(
  v.number('must be a number of bytes'),
  v.integer('must be a whole number'),
  v.minValue(0, 'must not be negative'),
);

/** Schema of a {@link RetentionPolicy}. */
export const retentionPolicySchema: v.GenericSchema<unknown, RetentionPolicy> = v.strictObject({
  maxAgeMs: v.exactOptional(millisecondsField),
  keepLatest: v.exactOptional(
    v.pipe(v.number('must be a number'), v.integer('must be a whole number'), v.minValue(0, 'must not be negative')),
  ),
  maxTotalBytes: v.exactOptional(bytesField),
  minFreeBytes: v.exactOptional(bytesField),
});
