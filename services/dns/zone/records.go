package zone

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/services"
)

type (
	// Key is what a set's records have in common: a complete name in lower case with its
	// final dot, and a type.
	Key struct{ Name, Type string }
	// Set is all records of a Key, as in a zone file; without values: to be removed.
	Set struct {
		TTL    uint32
		Values []string
	}
	// Sets are those of a zone.
	Sets map[Key]Set
	// Change replaces a set by another; without values, it removes it.
	Change struct {
		Key
		Set
	}
)

// Same says whether a server that has this set needs no change.
func (c Change) Same(existing Set) bool {
	if len(c.Values) == 0 || len(existing.Values) == 0 {
		return len(c.Values) == len(existing.Values)
	}
	return c.TTL == existing.TTL && slices.Equal(normals(c.Type, c.Values), normals(c.Type, existing.Values))
}

// normals are the normal texts of values in order.
func normals(kind string, values []string) []string {
	var texts []string
	for _, value := range values {
		texts = append(texts, normal(kind, value))
	}
	slices.Sort(texts)
	return texts
}

const maxValues = 100 // of one set: an answer has to carry them all

// Parse reads the user's records for a zone, and rejects them with all their faults.
func Parse(p Plan, zone string, records []Record) (Sets, error) {
	sets, faults, total := Sets{}, []error(nil), 0
	for i, r := range records {
		key, set, err := parseSet(p, zone, r)
		if _, twice := sets[key]; err == nil && twice {
			err = errors.New("name and type are listed twice; put all values into one entry")
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("parameters.records[%d]: %w", i, err))
			continue
		}
		sets[key] = set
		total += len(set.Values)
	}
	if len(faults) == 0 {
		faults = sets.conflicts(zone)
	}
	if total > p.Records {
		faults = append(faults, fmt.Errorf("parameters.records: there are %d, and the plan allows %d; remove some or choose a larger plan", total, p.Records))
	}
	if len(faults) > 0 {
		return nil, services.Rejected("%s", errors.Join(faults...))
	}
	return sets, nil
}

func parseSet(p Plan, zone string, r Record) (Key, Set, error) {
	name, err := ownerName(zone, r.Name)
	key := Key{name, r.Type}
	if err != nil {
		return key, Set{}, err
	}
	if rules[r.Type] == "" {
		return key, Set{}, fmt.Errorf("type: must be one of %s", strings.Join(slices.Sorted(maps.Keys(rules)), ", "))
	}
	ttl := cmp.Or(r.TTL, p.DefaultTTL)
	if ttl < p.MinTTL || ttl > MaxTTL {
		return key, Set{}, fmt.Errorf("ttl: must be from %d to %d seconds", p.MinTTL, MaxTTL)
	}
	if len(r.Values) > maxValues {
		return key, Set{}, fmt.Errorf("values: there must be %d at most", maxValues)
	}
	set := Set{TTL: uint32(ttl)} //nolint:gosec // MaxTTL fits
	for i, text := range r.Values {
		value, err := ParseValue(r.Type, text)
		if err == nil && slices.Contains(set.Values, value) {
			err = errors.New("is listed twice")
		}
		if err != nil {
			return key, Set{}, fmt.Errorf("values[%d]: %w", i, err)
		}
		set.Values = append(set.Values, value)
	}
	return key, set, nil
}

// ownerName returns a record's complete name.
func ownerName(zone, name string) (string, error) {
	if name == "@" {
		return zone, nil
	}
	full, absolute := strings.ToLower(name), strings.HasSuffix(name, ".")
	if !absolute {
		if AtOrBelow(full+".", zone) {
			return "", errors.New(`name: must be relative to the zone, such as "www", or end with a dot`)
		}
		full += "." + zone
	}
	rest, _ := strings.CutPrefix(full, "*.") // a wildcard (RFC 4592)
	canonical, ok := HostName(rest)
	if !ok || len(full) > maxName || rest == "" {
		return "", errors.New(`name: must be relative to the zone, such as "www", "_sip._tcp", "*" or "@" for the zone itself`)
	}
	if !AtOrBelow(canonical, zone) {
		return "", errors.New("name: does not lie in the zone")
	}
	return strings.TrimSuffix(full, rest) + canonical, nil
}

// conflicts returns the combinations of records that a zone cannot have.
func (s Sets) conflicts(zone string) []error {
	var faults []error
	fault := func(key Key, text string) {
		faults = append(faults, fmt.Errorf("parameters.records: %s of %s: %s", key.Type, strings.TrimSuffix(key.Name, "."), text))
	}
	for _, key := range s.Keys() {
		if len(s[key].Values) == 0 {
			continue
		}
		switch {
		case key.Name == zone && (key.Type == "NS" || key.Type == "CNAME"):
			fault(key, "is set by the server for the zone itself; leave it out")
		case key.Type == "CNAME" && len(s[key].Values) > 1:
			fault(key, "must have one value")
		case key.Type == "CNAME" && s.sharesName(key):
			fault(key, "must be the only record of its name")
		case key.Type == "NS" && strings.HasPrefix(key.Name, "*"):
			fault(key, "cannot be a wildcard")
		case s.delegated(key, zone):
			fault(key, "lies in a part of the zone that NS records delegate; only A and AAAA records of name servers may")
		}
	}
	return faults
}

// sharesName says whether the key's name has records of other types.
func (s Sets) sharesName(key Key) bool {
	for k, set := range s {
		if k.Name == key.Name && k.Type != key.Type && len(set.Values) > 0 {
			return true
		}
	}
	return false
}

// delegated says whether records other than addresses lie at or below a name with NS records.
func (s Sets) delegated(key Key, zone string) bool {
	if key.Type == "A" || key.Type == "AAAA" {
		return false
	}
	for name := key.Name; Below(name, zone); _, name, _ = strings.Cut(name, ".") {
		if ns := (Key{name, "NS"}); key != ns && len(s[ns].Values) > 0 {
			return true
		}
	}
	return false
}

// Keys returns the keys in order, so that a repeated call sends the same.
func (s Sets) Keys() []Key {
	return slices.SortedFunc(maps.Keys(s), func(a, b Key) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Type, b.Type))
	})
}

// Differ returns the keys of the sets that change from prev to next or must not exist.
func Differ(prev, next Sets) []Key {
	sets := Sets{}
	for key, was := range prev {
		if _, stays := next[key]; !stays && len(was.Values) > 0 {
			sets[key] = was
		}
	}
	for key, is := range next {
		if was := prev[key]; len(is.Values) == 0 || was.TTL != is.TTL || !slices.Equal(was.Values, is.Values) {
			sets[key] = is
		}
	}
	return sets.Keys()
}

// Changes turn prev into next on a server with the existing sets: removals first, so that
// a name may become a CNAME. Only prev's values are removed from a set; the others are the
// applications' own. A set without values in next is removed, and a CNAME has one value.
func Changes(prev, next, existing Sets) []Change {
	var removed, written []Change
	for _, key := range Differ(prev, next) {
		is, named := next[key]
		set := Set{TTL: existing[key].TTL}
		if named {
			set.TTL = is.TTL
		}
		if !named || len(is.Values) > 0 && key.Type != "CNAME" {
			set.Values = except(key.Type, existing[key].Values, slices.Concat(prev[key].Values, is.Values))
		}
		set.Values = append(set.Values, is.Values...)
		if len(set.Values) > 0 {
			written = append(written, Change{key, set})
		} else {
			removed = append(removed, Change{key, set})
		}
	}
	return append(removed, written...)
}

// except returns the values that are not among removed, in any form of a zone file.
func except(kind string, values, removed []string) []string {
	listed := map[string]bool{}
	for _, value := range removed {
		listed[normal(kind, value)] = true
	}
	return slices.DeleteFunc(slices.Clone(values), func(value string) bool { return listed[normal(kind, value)] })
}

// normal is one text for all forms of a value.
func normal(kind, value string) string {
	record, err := dns.NewRR(". 0 IN " + kind + " " + value)
	if err != nil || record == nil {
		return value
	}
	text := strings.TrimPrefix(record.String(), record.Header().String())
	if kind == "TXT" || kind == "CAA" {
		return text
	}
	return strings.ToLower(text)
}
