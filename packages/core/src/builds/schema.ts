import * as v from 'valibot';
import { artifactTypes } from '../model/artifact.ts';
import type { BuildConfig, BuildRequest, OutputDeclaration } from '../model/build.ts';
import type { Architecture } from '../model/architecture.ts';
import {
  argvField,
  architectureField,
  environmentField,
  idField,
  millisecondsField,
  noNul,
  type Field,
  type OptionalField,
} from '../model/fields.ts';
import { askerFields, buildRequirementFields, priorityField } from '../selection/schema.ts';

const relativePath = v.pipe(
  noNul('must be a string'),
  v.nonEmpty('must not be empty'),
  v.check(
    (path) => !path.startsWith('/') && !path.startsWith('-') && !path.split('/').includes('..'),
    "must be a relative path without '..'",
  ),
);

const output: v.GenericSchema<unknown, OutputDeclaration> = v.strictObject({
  type: v.picklist(artifactTypes, 'must be an artifact type'),
  path: relativePath,
  required: v.exactOptional(v.boolean('must be true or false')),
});

const outputs = v.pipe(v.array(output), v.minLength(1, 'declare at least one output'));

const shared = { extraMakeArgs: v.exactOptional(argvField), customEnv: v.exactOptional(environmentField) };

/** Schema of a {@link BuildConfig}. */
export const buildConfigSchema: v.GenericSchema<unknown, BuildConfig> = v.variant(
  'recipe',
  [
    v.strictObject({
      ...shared,
      recipe: v.literal('kernel'),
      kernelConfig: v.exactOptional(
        v.pipe(v.string('must be a string'), v.regex(/^[A-Za-z0-9][A-Za-z0-9._/-]*$/, 'must be a make config target')),
      ),
      configFragment: v.exactOptional(noNul('must be a string')),
      enableModules: v.exactOptional(v.boolean('must be true or false')),
      buildDtbs: v.exactOptional(v.boolean('must be true or false')),
    }),
    v.strictObject({
      ...shared,
      recipe: v.literal('make'),
      targets: v.exactOptional(argvField),
      directory: v.exactOptional(relativePath),
      outputs,
    }),
    v.strictObject({
      ...shared,
      recipe: v.literal('script'),
      script: v.pipe(noNul('must be a string'), v.nonEmpty('must not be empty')),
      outputs,
    }),
  ],
  'must be kernel, make or script',
);

// A name that begins with a dash would be read as an option.
const gitName = v.pipe(
  v.string('must be a string'),
  v.regex(/^[^-\s\0~^:?*[\\][^\s\0~^:?*[\\]*$/, 'must be the name of a branch or tag'),
);

/** A URL with a scheme, taken apart as git does: scheme, account with its password, host. */
const schemeUrl = /^([a-z][a-z0-9+.-]*):\/\/(?:([^/@]*)@)?(-?)/i;

/** What of a URL would let its reader in. An account alone is a name over ssh, and over HTTP a token. */
function holdsCredentials(url: string): boolean {
  const [, scheme = '', account = ''] = schemeUrl.exec(url.replace(/@(?=[^/]*@)/g, '%40')) ?? [];
  // git takes what stands before the first colon for the host, whatever was meant.
  if (scheme === '') return /^[^/:]*:[^/@]*@[^/]*:/.test(url);
  return account.includes(':') || (account !== '' && !/^(?:ssh|git|file)$/i.test(scheme));
}

/** Where source can come from: git URLs, or an absolute path. */
export const repositoryField: v.GenericSchema<unknown, string> = v.pipe(
  noNul('must be a string'),
  v.regex(
    /^(\/|(https?|git|ssh|file):\/\/[^\s]|[A-Za-z0-9][^\s:/]*:(?!:|\/\/)[^\s])/,
    'must be a git URL (https, ssh, git, file, host:path) or an absolute path on the build server',
  ),
  // It is shown, logged and handed to git, line by line.
  v.check((url) => !/[\u0000-\u001f\u007f]/.test(url), 'must not contain control characters'),
  v.check((url) => schemeUrl.exec(url)?.[3] !== '-', 'must not have a host that begins with a dash'),
  v.check(
    (url) => !holdsCredentials(url),
    'must not contain a password or a token; use a credential helper on the server',
  ),
);

/** A full or shortened commit hash. */
export const commitField: v.GenericSchema<unknown, string> = v.pipe(
  v.string('must be a string'),
  v.regex(/^[0-9a-f]{7,64}$/, 'must be a commit hash: 7 to 64 hexadecimal digits'),
);

/** The fields of a build that pipelines share. */
export const sourceFields: {
  readonly sourceRepository: Field<string>;
  readonly branch: OptionalField<string>;
  readonly commitHash: OptionalField<string>;
  readonly targetArchitecture: Field<Architecture>;
  readonly buildConfig: Field<BuildConfig>;
  readonly serverId: OptionalField<string>;
} = {
  sourceRepository: repositoryField,
  branch: v.exactOptional(gitName),
  commitHash: v.exactOptional(commitField),
  targetArchitecture: architectureField,
  buildConfig: buildConfigSchema,
  serverId: v.exactOptional(idField),
};

/** Schema of a {@link BuildRequest}. */
export const buildRequestSchema: v.GenericSchema<unknown, BuildRequest> = v.strictObject({
  ...sourceFields,
  ...buildRequirementFields,
  ...askerFields,
  timeoutMs: v.exactOptional(millisecondsField),
  priority: v.exactOptional(priorityField),
});
