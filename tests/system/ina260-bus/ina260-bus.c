// SPDX-License-Identifier: GPL-2.0
/*
 * Simulated I2C buses with INA260 power sensors, for tests on a real kernel.
 *
 * There are `buses` adapters, /dev/i2c-1 and up, each with sixteen chips at 0x40 to 0x4f, of which
 * those plugged in respond. They support plain I2C transfers, and the SMBus calls that the I2C core
 * maps to them, like a Raspberry Pi's adapter. A chip is controlled by the files in
 * /sys/kernel/debug/ina260-bus/<bus>/<address>/:
 *
 *   plugged           1 or 0; initially 1 for 0x40 only. Plugging in is a power-on.
 *   power_on          write 1: resets the registers to their power-on values, as a brown-out does
 *   current, voltage  the input, as register words; power follows from them
 *   power             a register word that replaces the calculated one, if not 0
 *   configuration, mask_enable, alert_limit, manufacturer, die    registers
 *   errno, failures   transfers fail with -errno; if failures is not 0, only that number of them
 *   hang              Y or N; while Y, a transfer blocks until its caller is killed
 *   delay_us          duration of a transfer
 *   corruptions, corrupt_register, corrupt_bits    the next reads of this register, as many as
 *                     corruptions says, have these bits inverted
 *   transfers         number of transfers that reached the chip
 *   configured        number of writes to the configuration register
 *   finished          number of conversion cycles, except those with the power-on configuration
 *   energy            energy of these cycles in mJ: power at the end of each, or when the input
 *                     changes, times its nominal length
 *
 * Each bus can have a TCA9548A at 0x70 and another at 0x71, with a chip at 0x40 downstream of each
 * channel, controlled in <bus>/mux/<channel>/ and <bus>/mux-0x71/<channel>/. They respond while the
 * upstream 0x40 is not plugged in; if several channels are selected, only the lowest one does. In
 * the directory of a mux itself:
 *
 *   plugged           1 or 0, initially 0
 *   control           its register: a bit for each selected channel
 *
 * In the directory of a bus:
 *
 *   number            the number of its adapter. Writing 0 unplugs it, as a USB adapter: transfers
 *                     fail with EIO, and the write returns when no process has it open any more.
 *                     Writing another number plugs it in again.
 *
 * The module also has a driver for such muxes, which Debian's kernel lacks on amd64: the mux at
 * 0x70 is bound by writing "pca9548 0x70" to new_device of the adapter. As with i2c-mux-pca954x,
 * each channel becomes an adapter, and stays selected unless the file idle_state is -2.
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/i2c.h>
#include <linux/i2c-mux.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/version.h>

#define FIRST_BUS 1
#define MAX_BUSES 4
#define FIRST_ADDRESS 0x40
#define CHIPS 16
#define MUX_ADDRESS 0x70
#define MUXES 2
#define CHANNELS 8

enum {
	CONFIGURATION = 0x00, CURRENT = 0x01, VOLTAGE = 0x02, POWER = 0x03,
	MASK_ENABLE = 0x06, ALERT_LIMIT = 0x07, MANUFACTURER = 0xfe, DIE = 0xff,
};

#define POWER_ON_CONFIGURATION 0x6127
#define CONFIGURATION_RST BIT(15)
#define MASK_OCL BIT(15)
#define MASK_UCL BIT(14)
#define MASK_BOL BIT(13)
#define MASK_BUL BIT(12)
#define MASK_POL BIT(11)
#define MASK_AFF BIT(4)
#define MASK_CVRF BIT(3)
#define MASK_OVF BIT(2)
#define MASK_LEN BIT(0)
#define MASK_WRITABLE 0xfc03
#define POWER_LIMIT 41943 /* 419.43 W; above it only the overflow flag is valid */

struct chip {
	struct i2c_adapter *adapter;
	bool plugged, hang;
	u8 pointer; /* register of the next read */
	u16 configuration, mask_enable, alert_limit, manufacturer, die;
	u16 current_, voltage, power;
	ktime_t started; /* start of the first cycle with this configuration */
	u64 cycles_seen; /* cycles whose ready flag was read and thereby cleared */
	bool converted; /* a cycle finished since power-on; before, the data registers are 0 */
	bool alerted; /* latched alert */
	u32 errno, failures, delay_us;
	u32 corruptions;
	u16 corrupt_bits;
	u8 corrupt_register;
	u64 transfers, configured;
	u64 finished; /* cycles before `started` */
	u64 energy; /* in 10 nJ, which is 10 mW for a microsecond */
	u64 cycles_summed; /* cycles since `started` that are included in `energy` */
};

struct mux {
	bool plugged;
	u8 control;
	struct chip downstream[CHANNELS];
};

static unsigned int buses = 1;
module_param(buses, uint, 0444);
MODULE_PARM_DESC(buses, "number of buses, which are numbered from 1");

static struct bus {
	struct i2c_adapter adapter;
	struct chip chips[CHIPS];
	struct mux muxes[MUXES];
	u32 number; /* 0: unplugged */
} all_buses[MAX_BUSES];
static struct dentry *control;

static u32 cycle_us(u16 configuration)
{
	static const u16 averaging[] = { 1, 4, 16, 64, 128, 256, 512, 1024 };
	static const u16 conversion_us[] = { 140, 204, 332, 588, 1100, 2116, 4156, 8244 };
	u32 period = 0;

	if (configuration & BIT(0))
		period += conversion_us[configuration >> 3 & 7];
	if (configuration & BIT(1))
		period += conversion_us[configuration >> 6 & 7];
	return period * averaging[configuration >> 9 & 7];
}

/* Conversion cycles finished since `started`; 0 for an unplugged chip, which keeps its counts. */
static u64 cycles(const struct chip *chip)
{
	u32 period = cycle_us(chip->configuration);
	u64 elapsed = ktime_us_delta(ktime_get(), chip->started);

	if (!period || !chip->plugged)
		return 0;
	elapsed = div_u64(elapsed, period);
	/* Continuous or triggered mode. */
	return chip->configuration & BIT(2) ? elapsed : min_t(u64, elapsed, 1);
}

static u32 power(const struct chip *chip)
{
	return chip->power ?: abs((s16)chip->current_) * (u32)chip->voltage / 6400;
}

/* Cycles with a configuration other than that of power-on. */
static u64 counted(const struct chip *chip)
{
	return chip->configuration == POWER_ON_CONFIGURATION ? 0 : cycles(chip);
}

static u64 finished(const struct chip *chip)
{
	return chip->finished + counted(chip);
}

static void sum_energy(struct chip *chip)
{
	u64 done = counted(chip);

	/* A write to the debugfs file of the configuration may have lowered the number. */
	if (done > chip->cycles_summed)
		chip->energy += (done - chip->cycles_summed) *
				cycle_us(chip->configuration) * power(chip);
	chip->cycles_summed = done;
}

static void restart_conversions(struct chip *chip, u16 configuration)
{
	sum_energy(chip);
	chip->finished = finished(chip);
	chip->configuration = configuration;
	chip->started = ktime_get();
	chip->cycles_seen = 0;
	chip->cycles_summed = 0;
}

static void power_on(struct chip *chip)
{
	chip->pointer = CONFIGURATION;
	chip->mask_enable = 0;
	chip->alert_limit = 0;
	chip->converted = false;
	chip->alerted = false;
	restart_conversions(chip, POWER_ON_CONFIGURATION);
}

/* The comparator. If several functions are set, that of the highest bit is evaluated. */
static bool beyond_limit(const struct chip *chip)
{
	s16 current_ = chip->current_, limit = chip->alert_limit;

	if (chip->mask_enable & MASK_OCL)
		return current_ > limit;
	if (chip->mask_enable & MASK_UCL)
		return current_ < limit;
	if (chip->mask_enable & MASK_BOL)
		return chip->voltage > chip->alert_limit;
	if (chip->mask_enable & MASK_BUL)
		return chip->voltage < chip->alert_limit;
	if (chip->mask_enable & MASK_POL)
		return power(chip) > chip->alert_limit;
	return false;
}

static u16 read_mask_enable(struct chip *chip)
{
	u64 done = cycles(chip);
	u16 word = chip->mask_enable;

	chip->alerted = beyond_limit(chip) || (chip->alerted && word & MASK_LEN);
	if (chip->alerted)
		word |= MASK_AFF;
	if (done > chip->cycles_seen)
		word |= MASK_CVRF;
	if (power(chip) > POWER_LIMIT)
		word |= MASK_OVF;
	chip->cycles_seen = done;
	chip->alerted = false;
	return word;
}

static u16 read_register(struct chip *chip)
{
	chip->converted |= cycles(chip) > 0;
	switch (chip->pointer) {
	case CONFIGURATION:
		return chip->configuration;
	case CURRENT:
		return chip->converted ? chip->current_ : 0;
	case VOLTAGE:
		return chip->converted ? chip->voltage : 0;
	case POWER:
		return chip->converted ? power(chip) : 0;
	case MASK_ENABLE:
		return read_mask_enable(chip);
	case ALERT_LIMIT:
		return chip->alert_limit;
	case MANUFACTURER:
		return chip->manufacturer;
	case DIE:
		return chip->die;
	default:
		return 0;
	}
}

static void write_register(struct chip *chip, u16 word)
{
	switch (chip->pointer) {
	case CONFIGURATION:
		chip->configured++;
		if (word & CONFIGURATION_RST) {
			power_on(chip);
			break;
		}
		restart_conversions(chip, 0x6000 | (word & 0x0fff));
		break;
	case MASK_ENABLE:
		chip->mask_enable = word & MASK_WRITABLE;
		break;
	case ALERT_LIMIT:
		chip->alert_limit = word;
		break;
	}
}

/* Simulates the faults that prevent a transfer from reaching the chip. */
static int reach(struct chip *chip)
{
	while (READ_ONCE(chip->hang)) {
		if (fatal_signal_pending(current))
			return -EINTR;
		schedule_timeout_killable(msecs_to_jiffies(50));
	}
	if (chip->delay_us)
		fsleep(chip->delay_us);
	if (chip->errno) {
		int error = -(int)chip->errno;

		if (chip->failures && !--chip->failures)
			chip->errno = 0;
		return error;
	}
	return chip->plugged ? 0 : -EREMOTEIO; /* no acknowledge */
}

static int transfer_message(struct chip *chip, struct i2c_msg *message)
{
	int error = reach(chip);
	u16 word, i;

	if (error)
		return error;
	if (message->flags & I2C_M_RD) {
		word = read_register(chip);
		if (chip->corruptions && chip->pointer == chip->corrupt_register) {
			chip->corruptions--;
			word ^= chip->corrupt_bits;
		}
		for (i = 0; i < message->len; i++)
			message->buf[i] = i % 2 ? word & 0xff : word >> 8; /* high byte first */
		return 0;
	}
	if (message->len > 0)
		chip->pointer = message->buf[0];
	if (message->len == 3)
		write_register(chip, message->buf[1] << 8 | message->buf[2]);
	return message->len == 2 || message->len > 3 ? -EREMOTEIO : 0;
}

static void transfer_to_mux(struct mux *mux, struct i2c_msg *message)
{
	if (message->flags & I2C_M_RD)
		memset(message->buf, mux->control, message->len);
	else if (message->len > 0)
		mux->control = message->buf[message->len - 1];
}

/* Returns the chip that is connected at this address. */
static struct chip *connected(struct bus *bus, unsigned int index)
{
	struct chip *chip = &bus->chips[index];
	struct mux *mux;
	int i;

	if (index > 0 || chip->plugged)
		return chip;
	for (mux = bus->muxes; mux < bus->muxes + MUXES; mux++)
		for (i = 0; mux->plugged && i < CHANNELS; i++)
			if (mux->control & BIT(i) && mux->downstream[i].plugged)
				return &mux->downstream[i];
	return chip;
}

/* The I2C core locks the bus, so that transfers do not overlap. */
static int transfer(struct i2c_adapter *adapter, struct i2c_msg *messages, int count)
{
	struct bus *bus = container_of(adapter, struct bus, adapter);
	struct chip *chip, *before = NULL;
	int i, error;

	if (!READ_ONCE(bus->number))
		return -EIO;
	for (i = 0; i < count; i++) {
		unsigned int index = messages[i].addr - FIRST_ADDRESS;
		unsigned int mux = messages[i].addr - MUX_ADDRESS;

		if (mux < MUXES && bus->muxes[mux].plugged) {
			transfer_to_mux(&bus->muxes[mux], &messages[i]);
			continue;
		}
		if (index >= CHIPS)
			return -EREMOTEIO;
		chip = connected(bus, index);
		if (chip != before)
			chip->transfers++;
		before = chip;
		error = transfer_message(chip, &messages[i]);
		if (error)
			return error;
	}
	return count;
}

static u32 functionality(struct i2c_adapter *adapter)
{
	return I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL;
}

static const struct i2c_algorithm algorithm = {
	.master_xfer = transfer,
	.functionality = functionality,
};

static int set_power_on(void *data, u64 value)
{
	struct chip *chip = data;

	i2c_lock_bus(chip->adapter, I2C_LOCK_ROOT_ADAPTER);
	power_on(chip);
	i2c_unlock_bus(chip->adapter, I2C_LOCK_ROOT_ADAPTER);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(power_on_file, NULL, set_power_on, "%llu\n");

static int get_plugged(void *data, u64 *value)
{
	*value = ((struct chip *)data)->plugged;
	return 0;
}

static int set_plugged(void *data, u64 value)
{
	struct chip *chip = data;

	set_power_on(chip, 1);
	chip->plugged = value;
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(plugged_file, get_plugged, set_plugged, "%llu\n");

static void set_input(struct chip *chip, u16 *input, u16 value)
{
	i2c_lock_bus(chip->adapter, I2C_LOCK_ROOT_ADAPTER);
	sum_energy(chip);
	*input = value;
	chip->alerted |= beyond_limit(chip); /* a conversion ends before the next read */
	i2c_unlock_bus(chip->adapter, I2C_LOCK_ROOT_ADAPTER);
}

static int read_current(void *data, u64 *value)
{
	*value = ((struct chip *)data)->current_;
	return 0;
}

static int write_current(void *data, u64 value)
{
	set_input(data, &((struct chip *)data)->current_, value);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(current_file, read_current, write_current, "0x%04llx\n");

static int read_voltage(void *data, u64 *value)
{
	*value = ((struct chip *)data)->voltage;
	return 0;
}

static int write_voltage(void *data, u64 value)
{
	set_input(data, &((struct chip *)data)->voltage, value);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(voltage_file, read_voltage, write_voltage, "0x%04llx\n");

static int get_finished(void *data, u64 *value)
{
	struct chip *chip = data;

	i2c_lock_bus(chip->adapter, I2C_LOCK_ROOT_ADAPTER);
	*value = finished(chip);
	i2c_unlock_bus(chip->adapter, I2C_LOCK_ROOT_ADAPTER);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(finished_file, get_finished, NULL, "%llu\n");

static int get_energy(void *data, u64 *value)
{
	struct chip *chip = data;

	i2c_lock_bus(chip->adapter, I2C_LOCK_ROOT_ADAPTER);
	sum_energy(chip);
	*value = div_u64(chip->energy, 100000);
	i2c_unlock_bus(chip->adapter, I2C_LOCK_ROOT_ADAPTER);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(energy_file, get_energy, NULL, "%llu\n");

static void add_files(struct chip *chip, struct dentry *directory)
{
	debugfs_create_file_unsafe("plugged", 0600, directory, chip, &plugged_file);
	debugfs_create_file_unsafe("power_on", 0200, directory, chip, &power_on_file);
	debugfs_create_file_unsafe("current", 0600, directory, chip, &current_file);
	debugfs_create_file_unsafe("voltage", 0600, directory, chip, &voltage_file);
	debugfs_create_x16("power", 0600, directory, &chip->power);
	debugfs_create_x16("configuration", 0600, directory, &chip->configuration);
	debugfs_create_x16("mask_enable", 0600, directory, &chip->mask_enable);
	debugfs_create_x16("alert_limit", 0600, directory, &chip->alert_limit);
	debugfs_create_x16("manufacturer", 0600, directory, &chip->manufacturer);
	debugfs_create_x16("die", 0600, directory, &chip->die);
	debugfs_create_u32("errno", 0600, directory, &chip->errno);
	debugfs_create_u32("failures", 0600, directory, &chip->failures);
	debugfs_create_bool("hang", 0600, directory, &chip->hang);
	debugfs_create_u32("delay_us", 0600, directory, &chip->delay_us);
	debugfs_create_u32("corruptions", 0600, directory, &chip->corruptions);
	debugfs_create_x8("corrupt_register", 0600, directory, &chip->corrupt_register);
	debugfs_create_x16("corrupt_bits", 0600, directory, &chip->corrupt_bits);
	debugfs_create_u64("transfers", 0400, directory, &chip->transfers);
	debugfs_create_u64("configured", 0400, directory, &chip->configured);
	debugfs_create_file_unsafe("finished", 0400, directory, chip, &finished_file);
	debugfs_create_file_unsafe("energy", 0400, directory, chip, &energy_file);
}

static void add_chip(struct bus *bus, struct chip *chip, bool plugged, const char *name,
		     struct dentry *directory)
{
	chip->adapter = &bus->adapter;
	chip->plugged = plugged;
	chip->manufacturer = 0x5449;
	chip->die = 0x2270;
	power_on(chip);
	add_files(chip, debugfs_create_dir(name, directory));
}

struct kernel_mux {
	struct i2c_client *client;
	int idle_state;
};

/* The adapter is locked already. */
static int write_control(struct i2c_mux_core *core, u8 control)
{
	struct i2c_client *client = ((struct kernel_mux *)i2c_mux_priv(core))->client;
	union i2c_smbus_data unused;

	return __i2c_smbus_xfer(client->adapter, client->addr, client->flags, I2C_SMBUS_WRITE,
				control, I2C_SMBUS_BYTE, &unused);
}

static int select_channel(struct i2c_mux_core *core, u32 channel)
{
	return write_control(core, BIT(channel));
}

static int deselect_channel(struct i2c_mux_core *core, u32 channel)
{
	struct kernel_mux *mux = i2c_mux_priv(core);

	return mux->idle_state == -2 ? write_control(core, 0) : 0;
}

static ssize_t idle_state_show(struct device *device, struct device_attribute *attribute,
			       char *text)
{
	struct kernel_mux *mux = i2c_mux_priv(dev_get_drvdata(device));

	return sysfs_emit(text, "%d\n", mux->idle_state);
}

static ssize_t idle_state_store(struct device *device, struct device_attribute *attribute,
				const char *text, size_t length)
{
	struct kernel_mux *mux = i2c_mux_priv(dev_get_drvdata(device));
	int error = kstrtoint(text, 0, &mux->idle_state);

	return error ?: length;
}
static DEVICE_ATTR_RW(idle_state);

static struct attribute *mux_attrs[] = { &dev_attr_idle_state.attr, NULL };
ATTRIBUTE_GROUPS(mux);

static int bind_mux(struct i2c_client *client)
{
	struct i2c_mux_core *core = i2c_mux_alloc(client->adapter, &client->dev, CHANNELS,
						  sizeof(struct kernel_mux), 0, select_channel,
						  deselect_channel);
	struct kernel_mux *mux;
	int i, error = 0;

	if (!core)
		return -ENOMEM;
	mux = i2c_mux_priv(core);
	mux->client = client;
	mux->idle_state = -1;
	i2c_set_clientdata(client, core);
	for (i = 0; i < CHANNELS && !error; i++)
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
		error = i2c_mux_add_adapter(core, 0, i, 0);
#else
		error = i2c_mux_add_adapter(core, 0, i);
#endif
	if (error)
		i2c_mux_del_adapters(core);
	return error;
}

static void unbind_mux(struct i2c_client *client)
{
	i2c_mux_del_adapters(i2c_get_clientdata(client));
}

static const struct i2c_device_id mux_ids[] = { { "pca9548" }, {} };

static struct i2c_driver mux_driver = {
	.driver = { .name = "ina260-bus-mux", .dev_groups = mux_groups },
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
	.probe_new = bind_mux,
#else
	.probe = bind_mux,
#endif
	.remove = unbind_mux,
	.id_table = mux_ids,
};

static int get_number(void *data, u64 *value)
{
	*value = ((struct bus *)data)->number;
	return 0;
}

static int set_number(void *data, u64 value)
{
	struct bus *bus = data;
	u32 before = bus->number;

	if (!before == !value)
		return -EINVAL;
	WRITE_ONCE(bus->number, value);
	if (!value) {
		i2c_del_adapter(&bus->adapter);
		return 0;
	}
	bus->adapter.nr = value;
	return i2c_add_numbered_adapter(&bus->adapter);
}
DEFINE_DEBUGFS_ATTRIBUTE(number_file, get_number, set_number, "%llu\n");

static void add_mux(struct bus *bus, struct mux *mux, const char *name, struct dentry *parent)
{
	struct dentry *directory = debugfs_create_dir(name, parent);
	char channel[4];
	int i;

	debugfs_create_bool("plugged", 0600, directory, &mux->plugged);
	debugfs_create_x8("control", 0600, directory, &mux->control);
	for (i = 0; i < CHANNELS; i++) {
		snprintf(channel, sizeof(channel), "%d", i);
		add_chip(bus, &mux->downstream[i], false, channel, directory);
	}
}

static int add_bus(struct bus *bus, int number)
{
	struct dentry *directory;
	char name[16];
	int i;

	bus->adapter.owner = THIS_MODULE;
	bus->adapter.algo = &algorithm;
	bus->adapter.nr = number;
	snprintf(bus->adapter.name, sizeof(bus->adapter.name), "INA260 test bus %d", number);

	snprintf(name, sizeof(name), "%d", number);
	directory = debugfs_create_dir(name, control);
	for (i = 0; i < CHIPS; i++) {
		snprintf(name, sizeof(name), "0x%02x", FIRST_ADDRESS + i);
		add_chip(bus, &bus->chips[i], i == 0, name, directory);
	}
	add_mux(bus, &bus->muxes[0], "mux", directory);
	add_mux(bus, &bus->muxes[1], "mux-0x71", directory);
	bus->number = number;
	debugfs_create_file_unsafe("number", 0600, directory, bus, &number_file);
	return i2c_add_numbered_adapter(&bus->adapter);
}

static void remove_buses(unsigned int count)
{
	debugfs_remove_recursive(control);
	while (count--)
		if (all_buses[count].number)
			i2c_del_adapter(&all_buses[count].adapter);
}

static int __init start(void)
{
	unsigned int i;
	int error;

	if (buses < 1 || buses > MAX_BUSES)
		return -EINVAL;
	control = debugfs_create_dir("ina260-bus", NULL);
	for (i = 0; i < buses; i++) {
		error = add_bus(&all_buses[i], FIRST_BUS + i);
		if (error) {
			remove_buses(i);
			return error;
		}
	}
	error = i2c_add_driver(&mux_driver);
	if (error)
		remove_buses(buses);
	return error;
}
module_init(start);

static void __exit stop(void)
{
	i2c_del_driver(&mux_driver);
	remove_buses(buses);
}
module_exit(stop);

MODULE_DESCRIPTION("I2C buses of simulated INA260 power sensors, for tests");
MODULE_LICENSE("GPL");
