#include <stdint.h>
#include "interrupts.h"
#include "memory.h"
#include "panic.h"
#include "print.h"
#include "serial.h"
#include "test.h"
#include "timer.h"

static void print_memory_map(void)
{
	print("memory: %u KiB usable\n", memory_total_kib());
	for (unsigned int i = 0; i < memory_range_count(); i++) {
		struct memory_range range = memory_range(i);

		print("memory:   0x%08x-0x%08x\n", range.start, range.start + range.size - 1);
	}
}

/* Called by kernel/start.S with what the boot loader left in the registers. */
void kernel_main(uint32_t magic, const struct multiboot_info *info)
{
	serial_init();
	print("\nbringup example BSP %s (%s), gcc %s\n", BSP_VERSION, BSP_BUILD_ID, __VERSION__);
	print("serial: COM1 at 115200 baud, 8n1\n");
	if (magic != MULTIBOOT_LOADER_MAGIC)
		panic("not started by a multiboot loader (magic 0x%x)", magic);
	memory_init(info);
	print("command line: %s\n", memory_command_line());
	print_memory_map();
	interrupts_init();
	timer_init();
	print("timer: %d Hz\n", TIMER_HZ);
	print("boot complete\n\n");

	print("\n%s\n", tests_run() ? "all self tests passed" : "some self tests FAILED");
	machine_reset();
}
