package designate

import (
	"context"
	"fmt"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/recordsets"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/zones"
	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/dns/zone"
	"github.com/chandler-broker/chandler/services/openstack"
)

// checkStorable rejects records that Designate would store and then serve without a part.
func checkStorable(records []zone.Record) error {
	for i, r := range records {
		for j, value := range r.Values {
			if r.Type == "CAA" && strings.Contains(value, ";") {
				return services.Rejected("parameters.records[%d]: values[%d]: Designate does not serve what follows a semicolon in a CAA record; leave it out", i, j)
			}
		}
	}
	return nil
}

// stored is a zone's record sets in Designate.
type stored struct {
	sets zone.Sets
	// found are those that are not being deleted.
	found map[zone.Key]recordsets.RecordSet
	// deleted are the names of which a set is being deleted.
	deleted map[string]bool
}

func readRecords(ctx context.Context, client *gophercloud.ServiceClient, zoneID string) (stored, error) {
	s := stored{zone.Sets{}, map[zone.Key]recordsets.RecordSet{}, map[string]bool{}}
	all, err := list(ctx, client, client.ServiceURL("zones", zoneID, "recordsets"), "recordsets", func(r recordsets.RecordSet) string { return r.ID })
	if err != nil {
		return s, explain("read the zone", err)
	}
	for _, r := range all {
		key := zone.Key{Name: strings.ToLower(r.Name), Type: r.Type}
		if r.Action == actionDelete {
			s.deleted[key.Name] = true
			continue
		}
		set := zone.Set{TTL: uint32(max(r.TTL, 0))} //nolint:gosec // Designate's are at most 2^31-1
		for _, value := range r.Records {
			set.Values = append(set.Values, fromDesignate(r.Type, value))
		}
		s.sets[key], s.found[key] = set, r
	}
	return s, nil
}

// maxString is the longest string of a TXT record that Designate takes, with its quotes.
const maxString = 255

// toDesignate turns a value of a zone file into Designate's form: CAA without quotes, and strings
// of TXT that are no longer than Designate allows, counted with quotes and escapes.
func toDesignate(kind, value string) string {
	switch kind {
	case "CAA":
		return strings.ReplaceAll(value, `"`, "")
	case "TXT":
		if len(value) > maxString {
			return splitText(value)
		}
	}
	return value
}

// splitText splits the text of a TXT record anew.
func splitText(value string) string {
	record, err := dns.NewRR(". 0 IN TXT " + value)
	txt, ok := record.(*dns.TXT)
	if err != nil || !ok {
		return value
	}
	var parts []string
	part := ""
	for _, unit := range escapes(strings.Join(txt.Txt, "")) {
		if len(part)+len(unit)+2 > maxString {
			parts, part = append(parts, `"`+part+`"`), ""
		}
		part += unit
	}
	return strings.Join(append(parts, `"`+part+`"`), " ")
}

// escapes splits an escaped text into characters and escapes (RFC 1035, section 5.1).
func escapes(text string) (units []string) {
	for text != "" {
		n := 1
		if text[0] == '\\' {
			n = 2
			if len(text) > 3 && text[1] >= '0' && text[1] <= '9' {
				n = 4
			}
		}
		n = min(n, len(text))
		units, text = append(units, text[:n]), text[n:]
	}
	return units
}

// fromDesignate turns Designate's form of a value into that of a zone file.
func fromDesignate(kind, value string) string {
	switch kind {
	case "CAA":
		if flags, rest, ok := strings.Cut(value, " "); ok {
			if tag, text, ok := strings.Cut(rest, " "); ok && !strings.Contains(text, `"`) {
				return fmt.Sprintf("%s %s %q", flags, tag, text)
			}
		}
	case "TXT":
		record, err := dns.NewRR(". 0 IN TXT " + value)
		if txt, ok := record.(*dns.TXT); err == nil && ok {
			return joinText(strings.Join(txt.Txt, ""))
		}
	}
	return value
}

// joinText splits an escaped text into the strings that package zone makes of it.
func joinText(text string) string {
	var parts []string
	part, size := "", 0
	for _, unit := range escapes(text) {
		if size == maxString {
			parts, part, size = append(parts, `"`+part+`"`), "", 0
		}
		part, size = part+unit, size+1
	}
	return strings.Join(append(parts, `"`+part+`"`), " ")
}

// maxWrites is how many record sets one call writes: about 0.1 s each.
const maxWrites = 50

// converge turns the records of prev into those of next, and waits until name servers have them.
// It leaves records that applications made. Removals go first, because a CNAME and other records
// cannot share a name; a removed set blocks its name for a moment.
func converge(ctx context.Context, client *gophercloud.ServiceClient, z zones.Zone, prev, next zone.Sets) error {
	has, err := readRecords(ctx, client, z.ID)
	if err != nil {
		return err
	}
	written, left := 0, 0
	for _, c := range zone.Changes(prev, next, has.sets) {
		if c.Same(has.sets[c.Key]) {
			continue
		}
		if written == maxWrites || len(c.Values) > 0 && has.deleted[c.Name] {
			left++
			continue
		}
		if err := write(ctx, client, z.ID, c, has.found[c.Key]); err != nil {
			return err
		}
		written++
		if len(c.Values) == 0 {
			has.deleted[c.Name] = true
		}
	}
	if left > 0 {
		return services.NotYet(retry, fmt.Sprintf("Designate is writing the zone's records: %d record sets are left", left))
	}
	if written > 0 {
		has, err = readRecords(ctx, client, z.ID)
		if err != nil {
			return err
		}
	}
	return has.awaitActive(next)
}

// awaitActive returns nil if name servers have these sets.
func (s stored) awaitActive(sets zone.Sets) error {
	for _, key := range sets.Keys() {
		switch found, ok := s.found[key]; {
		case !ok:
		case found.Status == statusError:
			return services.NotYet(retryError, "Designate could not send the zone's records to its name servers yet, and tries again")
		case found.Status != statusActive:
			return services.NotYet(retry, "Designate is sending the zone's records to its name servers")
		}
	}
	return nil
}

// write creates, changes or removes one record set.
func write(ctx context.Context, client *gophercloud.ServiceClient, zoneID string, c zone.Change, found recordsets.RecordSet) error {
	var values []string
	for _, value := range c.Values {
		values = append(values, toDesignate(c.Type, value))
	}
	var ttl *int // none: the zone's
	if c.TTL > 0 {
		seconds := int(c.TTL)
		ttl = &seconds
	}
	var err error
	switch {
	case len(values) == 0 && found.ID == "":
		return nil
	case len(values) == 0:
		err = openstack.UnlessAbsent(recordsets.Delete(ctx, client, zoneID, found.ID).ExtractErr())
	case found.ID == "":
		err = recordsets.Create(ctx, client, zoneID, recordsets.CreateOpts{Name: c.Name, Type: c.Type, TTL: int(c.TTL), Records: values}).Err
	default:
		err = recordsets.Update(ctx, client, zoneID, found.ID, recordsets.UpdateOpts{TTL: ttl, Records: values}).Err
	}
	return refusedRecords(c.Type, c.Name, err)
}
