/**
 * Asks a console for a prompt. ^U comes first, for what somebody left in the middle of a line, say a process that died as it
 * typed: a line end alone would run what there is of it. Terminals, line editors and U-Boot forget the line; a program that reads raw
 * bytes gets one more.
 */
export const freshLine = '\x15\n';

/** The same, and ^C for whatever runs there. */
export const interruptedLine = '\x03\n';
