#pragma once
#include <stdint.h>

#define MULTIBOOT_LOADER_MAGIC 0x2badb002

struct multiboot_info;

/* A range of usable RAM below 4 GiB. */
struct memory_range {
	uint32_t start;
	uint32_t size;
};

/* Copies the boot loader's memory map and command line, which lie in memory we may overwrite. */
void memory_init(const struct multiboot_info *info);
/* The kernel command line; empty when there was none. */
const char *memory_command_line(void);
unsigned int memory_range_count(void);
struct memory_range memory_range(unsigned int index);
/* The largest usable range above our own image. */
struct memory_range memory_free_range(void);
/* All usable RAM in KiB. */
uint32_t memory_total_kib(void);
