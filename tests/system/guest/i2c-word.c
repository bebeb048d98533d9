// Reads or writes a 16-bit register, high byte first as in an INA260, by SMBus calls. Replaces
// i2cget and i2cset: i2c-tools must not be installed.
// Usage: i2c-word /dev/i2c-N ADDRESS REGISTER [WORD]
#include <byteswap.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

int main(int argc, char **argv)
{
	if (argc != 4 && argc != 5) {
		fprintf(stderr, "usage: %s /dev/i2c-N ADDRESS REGISTER [WORD]\n", argv[0]);
		return 2;
	}
	union i2c_smbus_data data = {
		.word = argc == 5 ? bswap_16(strtoul(argv[4], NULL, 0)) : 0,
	};
	struct i2c_smbus_ioctl_data call = {
		.read_write = argc == 5 ? I2C_SMBUS_WRITE : I2C_SMBUS_READ,
		.command = strtoul(argv[3], NULL, 0),
		.size = I2C_SMBUS_WORD_DATA,
		.data = &data,
	};
	int bus = open(argv[1], O_RDWR);
	if (bus < 0 || ioctl(bus, I2C_SLAVE, strtoul(argv[2], NULL, 0)) < 0 ||
	    ioctl(bus, I2C_SMBUS, &call) < 0) {
		perror(argv[1]);
		return 1;
	}
	if (argc == 4)
		printf("0x%04x\n", bswap_16(data.word));
	return 0;
}
