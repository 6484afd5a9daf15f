#pragma once
#include <stddef.h>
#include <stdint.h>

/* CRC-32 as in Ethernet, gzip and U-Boot (reflected polynomial 0xedb88320). Start with 0. */
uint32_t crc32(uint32_t crc, const void *data, size_t size);
