#include "panic.h"
#include "io.h"
#include "print.h"
#include "serial.h"

#define KEYBOARD_COMMAND 0x64
#define KEYBOARD_INPUT_FULL 0x02
#define KEYBOARD_PULSE_RESET 0xfe

static void stop(void) __attribute__((noreturn));

static void stop(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

void panic(const char *text, ...)
{
	char reason[128];
	va_list args;

	interrupts_disable();
	va_start(args, text);
	vformat(reason, sizeof(reason), text, args);
	va_end(args);
	print("\nKernel panic - not syncing: %s\n", reason);
	serial_drain();
	stop();
}

void machine_reset(void)
{
	interrupts_disable();
	serial_drain();
	while (inb(KEYBOARD_COMMAND) & KEYBOARD_INPUT_FULL)
		;
	outb(KEYBOARD_COMMAND, KEYBOARD_PULSE_RESET);
	stop();
}
