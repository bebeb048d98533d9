"""An INA260 in memory, so that only the cost of the script itself is measured."""

WORDS = {
    0x00: 0x6127,  # configuration
    0x01: 0x0FA0,  # current: 5 A
    0x02: 0x2580,  # bus voltage: 12 V
    0x03: 0x1770,  # power: 60 W
    0xFE: 0x5449,  # manufacturer
    0xFF: 0x2270,  # die
}


class Bus:
    """The methods of `busio.I2C` that Adafruit's libraries use."""

    def try_lock(self):
        return True

    def unlock(self):
        pass

    def writeto(self, _address, buffer, *, start=0, end=None):
        pass

    def writeto_then_readfrom(
        self, _address, written, read, *, out_start=0, out_end=None, in_start=0, in_end=None
    ):
        read[in_start : in_start + 2] = WORDS[written[out_start]].to_bytes(2, "big")


def I2C():  # noqa: N802 - Blinka's name
    return Bus()
