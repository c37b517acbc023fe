package backup

import "testing"

// A copy of a limit's size fits into as many parts as a store takes. All but the last have one size,
// which some stores demand.
func TestPartSize(t *testing.T) {
	const gigabyte = 1 << 30
	for _, limit := range []int64{1, gigabyte, 78 * gigabyte, 290 * gigabyte} {
		first := partSize(limit, 1)
		if last := partSize(limit, maxParts); last != first || int64(first)*maxParts < limit+limit/1000 || first < minPart || first > maxPart {
			t.Errorf("parts of a copy of up to %d bytes: %d, %d bytes", limit, first, last)
		}
	}
	var sum int64
	for number := range maxParts {
		sum += int64(partSize(0, number+1))
	}
	if sum < 265*gigabyte || partSize(0, 1) != minPart {
		t.Errorf("without a limit, %d bytes fit, and the first part has %d", sum, partSize(0, 1))
	}
}
