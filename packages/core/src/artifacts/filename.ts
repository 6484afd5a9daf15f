import { invalidInput } from '../errors.ts';
import { limits } from '../limits.ts';

/** Refuses names that could leave a folder they are put under. @throws `invalid-input`. */
export function checkFilename(filename: string): void {
  const parts = filename.split('/');
  const bad =
    filename === '' ||
    filename.length > limits.maxFilenameChars ||
    parts.some((part) => part === '' || part === '.' || part === '..') ||
    /[\u0000-\u001f\u007f\\]/.test(filename);
  if (!bad) return;
  throw invalidInput('the artifact', [
    { path: 'filename', message: 'must be a relative path without .., backslashes or control characters' },
  ]);
}
