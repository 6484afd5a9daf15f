#pragma once

/* Says why on the console, in Linux's words, and stops for good. */
void panic(const char *text, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Leaves no byte in the UART and resets the machine; an emulator run with -no-reboot ends. */
void machine_reset(void) __attribute__((noreturn));
