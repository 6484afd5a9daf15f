import { invalidInput } from '../errors.ts';
import { limits } from '../limits.ts';

// oxlint-disable-next-line no-control-regex -- these are the characters to find
const forbidden = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\\]/;

/** What a file system takes for one name (Linux NAME_MAX), in bytes. */
const maxNameBytes = 255;

/**
 * What keeps a text from being the name of an artifact, undefined when nothing does. Programs put artifacts under
 * folders and name them in commands and pages: a name leads nowhere else, and is no option.
 */
export function filenameFault(filename: string): string | undefined {
  const parts = filename.split('/');
  if (filename.length > limits.maxFilenameChars) return `must not be longer than ${limits.maxFilenameChars} characters`;
  if (parts.some((part) => part === '' || part === '.' || part === '..')) return 'must be a relative path without ..';
  if (forbidden.test(filename) || !filename.isWellFormed())
    return 'must not contain backslashes, control characters or halves of surrogate pairs';
  if (parts.some((part) => part.startsWith('-'))) return 'must not begin with a dash';
  return parts.some((part) => Buffer.byteLength(part) > maxNameBytes)
    ? `must not have parts longer than ${maxNameBytes} bytes`
    : undefined;
}

/** Refuses names that could leave a folder they are put under. @throws `invalid-input`. */
export function checkFilename(filename: string): void {
  const message = filenameFault(filename);
  if (message !== undefined) throw invalidInput('the artifact', [{ path: 'filename', message }]);
}
