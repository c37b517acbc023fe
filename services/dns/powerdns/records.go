package powerdns

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	pdns "github.com/joeig/go-powerdns/v3"
	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/services"
)

// A recordSet is all records of a setKey, as the server writes them; none: to be removed.
type (
	setKey    struct{ name, kind string }
	recordSet struct {
		ttl    uint32
		values []string
	}
	recordSets map[setKey]recordSet
)

const maxValues = 100 // of one set: an answer has to carry them all

// parseRecords reads the user's records for a zone, and rejects them with all their faults.
func parseRecords(p Plan, zone string, records []Record) (recordSets, error) {
	sets, faults, total := recordSets{}, []error(nil), 0
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
		total += len(set.values)
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

func parseSet(p Plan, zone string, r Record) (setKey, recordSet, error) {
	name, err := ownerName(zone, r.Name)
	key := setKey{name, r.Type}
	if err != nil {
		return key, recordSet{}, err
	}
	if rules[r.Type] == "" {
		return key, recordSet{}, fmt.Errorf("type: must be one of %s", strings.Join(slices.Sorted(maps.Keys(rules)), ", "))
	}
	ttl := cmp.Or(r.TTL, p.DefaultTTL)
	if ttl < p.MinTTL || ttl > maxTTL {
		return key, recordSet{}, fmt.Errorf("ttl: must be from %d to %d seconds", p.MinTTL, maxTTL)
	}
	if len(r.Values) > maxValues {
		return key, recordSet{}, fmt.Errorf("values: there must be %d at most", maxValues)
	}
	set := recordSet{ttl: uint32(ttl)} //nolint:gosec // maxTTL fits
	for i, text := range r.Values {
		value, err := parseValue(r.Type, text)
		if err == nil && slices.Contains(set.values, value) {
			err = errors.New("is listed twice")
		}
		if err != nil {
			return key, recordSet{}, fmt.Errorf("values[%d]: %w", i, err)
		}
		set.values = append(set.values, value)
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
		if atOrBelow(full+".", zone) {
			return "", errors.New(`name: must be relative to the zone, such as "www", or end with a dot`)
		}
		full += "." + zone
	}
	rest, _ := strings.CutPrefix(full, "*.") // a wildcard (RFC 4592)
	canonical, ok := hostName(rest)
	if !ok || len(full) > maxName || rest == "" {
		return "", errors.New(`name: must be relative to the zone, such as "www", "_sip._tcp", "*" or "@" for the zone itself`)
	}
	if !atOrBelow(canonical, zone) {
		return "", errors.New("name: does not lie in the zone")
	}
	return strings.TrimSuffix(full, rest) + canonical, nil
}

// conflicts returns the combinations of records that a zone cannot have.
func (s recordSets) conflicts(zone string) []error {
	var faults []error
	fault := func(key setKey, text string) {
		faults = append(faults, fmt.Errorf("parameters.records: %s of %s: %s", key.kind, strings.TrimSuffix(key.name, "."), text))
	}
	for _, key := range s.keys() {
		if len(s[key].values) == 0 {
			continue
		}
		switch {
		case key.name == zone && (key.kind == "NS" || key.kind == "CNAME"):
			fault(key, "is set by the server for the zone itself; leave it out")
		case key.kind == "CNAME" && len(s[key].values) > 1:
			fault(key, "must have one value")
		case key.kind == "CNAME" && s.sharesName(key):
			fault(key, "must be the only record of its name")
		case key.kind == "NS" && strings.HasPrefix(key.name, "*"):
			fault(key, "cannot be a wildcard")
		case s.delegated(key, zone):
			fault(key, "lies in a part of the zone that NS records delegate; only A and AAAA records of name servers may")
		}
	}
	return faults
}

// sharesName says whether the key's name has records of other types.
func (s recordSets) sharesName(key setKey) bool {
	for k, set := range s {
		if k.name == key.name && k.kind != key.kind && len(set.values) > 0 {
			return true
		}
	}
	return false
}

// delegated says whether records other than addresses lie at or below a name with NS records.
func (s recordSets) delegated(key setKey, zone string) bool {
	if key.kind == "A" || key.kind == "AAAA" {
		return false
	}
	for name := key.name; below(name, zone); _, name, _ = strings.Cut(name, ".") {
		if ns := (setKey{name, "NS"}); key != ns && len(s[ns].values) > 0 {
			return true
		}
	}
	return false
}

// keys returns the keys in order, so that a repeated call sends the same.
func (s recordSets) keys() []setKey {
	return slices.SortedFunc(maps.Keys(s), func(a, b setKey) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.kind, b.kind))
	})
}

// differ returns the keys of the sets that change from prev to next or must not exist.
func differ(prev, next recordSets) []setKey {
	sets := recordSets{}
	for key, was := range prev {
		if _, stays := next[key]; !stays && len(was.values) > 0 {
			sets[key] = was
		}
	}
	for key, is := range next {
		if was := prev[key]; len(is.values) == 0 || was.ttl != is.ttl || !slices.Equal(was.values, is.values) {
			sets[key] = is
		}
	}
	return sets.keys()
}

// changes turn prev into next on a server with the existing sets: removals first, so that
// a name may become a CNAME. Only prev's values are removed from a set; the others are the
// applications' own. A set without values in next is removed, and a CNAME has one value.
func changes(prev, next, existing recordSets) []pdns.RRset {
	var removed, written []pdns.RRset
	for _, key := range differ(prev, next) {
		is, named := next[key]
		set := recordSet{ttl: existing[key].ttl}
		if named {
			set.ttl = is.ttl
		}
		if !named || len(is.values) > 0 && key.kind != "CNAME" {
			set.values = except(key.kind, existing[key].values, slices.Concat(prev[key].values, is.values))
		}
		set.values = append(set.values, is.values...)
		if len(set.values) > 0 {
			written = append(written, replacement(key, set))
		} else {
			removed = append(removed, replacement(key, set))
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

// replacement writes a set, or removes one without values.
func replacement(key setKey, set recordSet) pdns.RRset {
	r := pdns.RRset{
		Name: pdns.String(key.name), Type: pdns.RRTypePtr(pdns.RRType(key.kind)), TTL: pdns.Uint32(set.ttl),
		ChangeType: pdns.ChangeTypePtr(pdns.ChangeTypeReplace), Records: []pdns.Record{},
	}
	if len(set.values) == 0 {
		r.ChangeType, r.TTL = pdns.ChangeTypePtr(pdns.ChangeTypeDelete), nil
	}
	for _, value := range set.values {
		r.Records = append(r.Records, pdns.Record{Content: pdns.String(value), Disabled: pdns.Bool(false)})
	}
	return r
}
