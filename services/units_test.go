package services_test

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
)

func TestSizes(t *testing.T) {
	for _, test := range []struct {
		name, json string
		want       services.Size // -1: not readable
	}{
		{"kilobytes", `"1kB"`, 1 << 10},
		{"megabytes", `"64MB"`, 64 << 20},
		{"gigabytes", `"3GB"`, 3 << 30},
		{"terabytes", `"999999TB"`, 999999 << 40},
		{"seven digits", `"9999999GB"`, 9999999 << 30},
		{"the largest", `"8388607TB"`, 8388607 << 40},
		{"one more overflows", `"8388608TB"`, -1},
		{"eight digits", `"10000000kB"`, -1},
		{"no unit", `"100"`, -1},
		{"a number", `100`, -1},
		{"bytes", `"100B"`, -1},
		{"small letters", `"1mb"`, -1},
		{"nothing of it", `"0MB"`, -1},
		{"a zero before", `"01MB"`, -1},
		{"less than nothing", `"-1MB"`, -1},
		{"a fraction", `"1.5GB"`, -1},
		{"space", `"1 MB"`, -1},
		{"a line behind", `"1MB\n"`, -1},
		{"empty", `""`, -1},
		{"null", `null`, -1},
		{"an object", `{}`, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got services.Size
			if err := json.Unmarshal([]byte(test.json), &got); err != nil || got != test.want {
				t.Errorf("%d, %v; want %d", int64(got), err, int64(test.want))
			}
		})
	}
}

func TestSizeForPeople(t *testing.T) {
	for _, test := range []struct {
		size services.Size
		want string
	}{
		{0, "0 bytes"},
		{500, "500 bytes"},
		{services.Kilobyte, "1 kB"},
		{1536, "1.5 kB"},
		{512 * services.Kilobyte, "512 kB"},
		{15938355, "15.1 MB"},
		{16 * services.Megabyte, "16 MB"},
		{1023 * services.Megabyte, "1023 MB"},
		{services.Gigabyte, "1 GB"},
		{services.Gigabyte + 200*services.Megabyte, "1.1 GB"},
		{services.Terabyte + services.Terabyte/2, "1.5 TB"},
		{1<<63 - 1, "8388607.9 TB"},
	} {
		t.Run(test.want, func(t *testing.T) {
			if got := test.size.String(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestDurations(t *testing.T) {
	for _, test := range []struct {
		name, json string
		want       time.Duration // -1: not readable
	}{
		{"seconds", `"30s"`, 30 * time.Second},
		{"mixed", `"1h30m"`, 90 * time.Minute},
		{"a millisecond", `"1ms"`, time.Millisecond},
		{"a fraction of whole milliseconds", `"1.5s"`, 1500 * time.Millisecond},
		{"less than a millisecond", `"999us"`, -1},
		{"no whole milliseconds", `"1500us"`, -1},
		{"none", `"0s"`, -1},
		{"the past", `"-1s"`, -1},
		{"a number", `30`, -1},
		{"no unit", `"30"`, -1},
		{"days", `"1d"`, -1},
		{"too long", `"3000000h"`, -1},
		{"null", `null`, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got services.Duration
			if err := json.Unmarshal([]byte(test.json), &got); err != nil || time.Duration(got) != test.want {
				t.Errorf("%v, %v; want %v", time.Duration(got), err, test.want)
			}
		})
	}
}

// Every text is either decoded correctly or marked as malformed.
func FuzzSize(f *testing.F) {
	for _, seed := range []string{"1kB", "500MB", "9999999TB", "8388608TB", "0GB", "1 MB", ""} {
		f.Add(seed)
	}
	units := map[string]int64{"kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
	f.Fuzz(func(t *testing.T, text string) {
		encoded, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var got services.Size
		if err := json.Unmarshal(encoded, &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got == -1 {
			return
		}
		number := strings.TrimRight(text, "kMGTB")
		want, ok := new(big.Int).SetString(number, 10)
		if !ok {
			t.Fatalf("%q was decoded as %d", text, int64(got))
		}
		want.Mul(want, big.NewInt(units[text[len(number):]]))
		if got <= 0 || want.Cmp(big.NewInt(int64(got))) != 0 {
			t.Errorf("%q was decoded as %d, want %d", text, int64(got), want)
		}
	})
}

func FuzzDuration(f *testing.F) {
	for _, seed := range []string{"30s", "1h30m", "1.5ms", "0.001s", "-5m", "1us", "2562047h47m16.854s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		encoded, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var got services.Duration
		if err := json.Unmarshal(encoded, &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		want, err := time.ParseDuration(text)
		if err != nil || want < time.Millisecond || want != want.Truncate(time.Millisecond) {
			want = -1
		}
		if time.Duration(got) != want {
			t.Errorf("%q was decoded as %v, want %v", text, time.Duration(got), want)
		}
	})
}
