/* What the boot loader tells in the Multiboot 1 information structure. */
#include "memory.h"
#include <stddef.h>
#include "panic.h"
#include "string.h"

#define INFO_COMMAND_LINE (1u << 2)
#define INFO_MEMORY_MAP (1u << 6)
#define MEMORY_USABLE 1
#define MAX_RANGES 16
#define PAGE 4096u

struct multiboot_info {
	uint32_t flags;
	uint32_t memory_lower_kib, memory_upper_kib;
	uint32_t boot_device;
	uint32_t command_line;
	uint32_t module_count, modules;
	uint32_t symbols[4];
	uint32_t map_size, map;
};

struct map_entry {
	uint32_t size; /* of what follows */
	uint64_t start;
	uint64_t length;
	uint32_t type;
} __attribute__((packed));

extern char image_end[];

static struct memory_range ranges[MAX_RANGES];
static unsigned int range_count;
static char command_line[256];

static void add_range(const struct map_entry *entry)
{
	if (entry->type != MEMORY_USABLE || entry->start >> 32 != 0 || range_count == MAX_RANGES)
		return;
	ranges[range_count].start = (uint32_t)entry->start;
	/* What reaches beyond 4 GiB is out of a 32-bit CPU's sight. */
	ranges[range_count].size = (entry->start + entry->length) >> 32 ? 0u - (uint32_t)entry->start : (uint32_t)entry->length;
	range_count++;
}

void memory_init(const struct multiboot_info *info)
{
	if (!(info->flags & INFO_MEMORY_MAP))
		panic("the boot loader gave no memory map");
	for (uint32_t at = info->map; at < info->map + info->map_size;) {
		const struct map_entry *entry = (const struct map_entry *)at;

		add_range(entry);
		at += entry->size + sizeof(entry->size);
	}
	if (info->flags & INFO_COMMAND_LINE) {
		const char *text = (const char *)info->command_line;
		size_t length = strlen(text);

		memcpy(command_line, text, length < sizeof(command_line) ? length : sizeof(command_line) - 1);
	}
}

const char *memory_command_line(void)
{
	return command_line;
}

unsigned int memory_range_count(void)
{
	return range_count;
}

struct memory_range memory_range(unsigned int index)
{
	return ranges[index];
}

struct memory_range memory_free_range(void)
{
	uint32_t image = ((uint32_t)image_end + PAGE - 1) & ~(PAGE - 1);
	struct memory_range best = { 0, 0 };

	for (unsigned int i = 0; i < range_count; i++) {
		struct memory_range range = ranges[i];

		if (range.start < image) {
			if (range.size <= image - range.start)
				continue;
			range.size -= image - range.start;
			range.start = image;
		}
		if (range.size > best.size)
			best = range;
	}
	return best;
}

uint32_t memory_total_kib(void)
{
	uint32_t kib = 0;

	for (unsigned int i = 0; i < range_count; i++)
		kib += ranges[i].size / 1024;
	return kib;
}
