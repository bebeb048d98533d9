// Writes one register word of a chip on an I2C bus by the SMBus call, which sends the low byte first: i2cset without i2c-tools.
// Usage: set-word /dev/i2c-N ADDRESS REGISTER WORD
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: %s /dev/i2c-N ADDRESS REGISTER WORD\n", argv[0]);
		return 2;
	}
	union i2c_smbus_data data = { .word = strtoul(argv[4], NULL, 0) };
	struct i2c_smbus_ioctl_data call = {
		.read_write = I2C_SMBUS_WRITE,
		.command = strtoul(argv[3], NULL, 0),
		.size = I2C_SMBUS_WORD_DATA,
		.data = &data,
	};
	int bus = open(argv[1], O_RDWR);
	if (bus < 0 || ioctl(bus, I2C_SLAVE, strtoul(argv[2], NULL, 0)) < 0 || ioctl(bus, I2C_SMBUS, &call) < 0) {
		perror(argv[1]);
		return 1;
	}
	return 0;
}
