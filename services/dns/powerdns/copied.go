package powerdns

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/services"
)

// copyFormat is the format of a copy: one JSON document, a zoneCopy.
const copyFormat = "powerdns-1"

// zoneCopy is all of a zone. Names and values are absolute, below Zone.
type zoneCopy struct {
	Zone string `json:"zone"`
	// Nameservers are the server's own NS records of the zone.
	Nameservers []string        `json:"nameservers"`
	Sets        []copiedSet     `json:"sets"`
	Keys        []cryptokey     `json:"keys"`
	Complete    bool            `json:"complete"`
	Metadata    []copiedPublish `json:"metadata"`

	dropped int // sets that users cannot make
}

// drop removes what a restore would refuse, so that one such record does not prevent backups.
func (c *zoneCopy) drop() {
	kept := c.Sets[:0]
	for _, s := range c.Sets {
		if _, err := s.move(c.Zone, placeholder); err == nil || s.own(c.Zone) {
			kept = append(kept, s)
		}
	}
	c.dropped = len(c.Sets) - len(kept)
	c.Sets = kept
}

// copiedSet is a set of records as the API has it.
type copiedSet struct {
	Name       string          `json:"name"`
	Type       string          `json:"type"`
	TTL        uint32          `json:"ttl"`
	ChangeType string          `json:"changetype,omitempty"`
	Records    []copiedRecord  `json:"records"`
	Comments   []copiedComment `json:"comments"`
}

type copiedRecord struct {
	Content  string `json:"content"`
	Disabled bool   `json:"disabled"`
}

type copiedComment struct {
	Content  string `json:"content"`
	Account  string `json:"account"`
	Modified int64  `json:"modified_at,omitempty"`
}

// cryptokey is a DNSSEC key. Only a question for this one key has its private part.
type cryptokey struct {
	ID        int    `json:"id,omitempty"`
	Type      string `json:"keytype"`
	Active    bool   `json:"active"`
	Published bool   `json:"published"`
	Private   string `json:"privatekey,omitempty"`
	Content   string `json:"content,omitempty"` // Private, when a key is made
}

// copiedPublish is metadata that says how the zone publishes its keys.
type copiedPublish struct {
	Kind     string   `json:"kind"`
	Metadata []string `json:"metadata"`
}

// published are the kinds of metadata that belong to the data. The others are the operator's and the
// broker's: who may update and transfer the zone, or what the server runs.
func published() []string { return []string{"PUBLISH-CDNSKEY", "PUBLISH-CDS"} }

const (
	maxCopy     = 512 << 20
	maxKeys     = 32
	maxKeySize  = 32 << 10
	maxComment  = 4 << 10
	maxComments = 100
)

// own says that the server makes the set itself, and changes it without being asked.
func (s *copiedSet) own(zone string) bool {
	switch s.Type {
	case "RRSIG", "NSEC", "NSEC3", "NSEC3PARAM":
		return true
	}
	return s.Type == "SOA" && s.Name == zone
}

// refusedTypes are those with which the server runs code or asks other servers, and those that
// only questions have. Users cannot make them.
func refusedTypes() []string {
	return []string{"LUA", "ALIAS", "ANY", "AXFR", "IXFR", "MAILA", "MAILB", "OPT", "TSIG", "TKEY", "None", "Reserved", "SOA"}
}

// privateTypes begins the numbers of types that a server gives a meaning of its own (RFC 6895).
const privateTypes = 65280

// move returns a set as it is in another zone: the names in it and in its values that lie in the
// zone from lie in the zone to. It refuses what users cannot make.
func (s copiedSet) move(from, to string) (copiedSet, error) {
	fail := func(rule string) (copiedSet, error) {
		return copiedSet{}, fmt.Errorf("the %q records of %q: %s", s.Type, s.Name, rule)
	}
	number, known := dns.StringToType[s.Type]
	if slices.Contains(refusedTypes(), s.Type) || !known || number >= privateTypes {
		if _, err := fmt.Sscanf(s.Type, "TYPE%d", &number); known || err != nil || number >= privateTypes || dns.TypeToString[number] != "" {
			return fail("users cannot have records of this type")
		}
	}
	name, err := moveName(s.Name, from, to)
	if err != nil {
		return fail(err.Error())
	}
	if len(s.Comments) > maxComments {
		return fail("there are too many comments")
	}
	moved := s
	moved.Name, moved.Records = name, nil
	for _, r := range s.Records {
		if r.Content, err = moveValue(s.Type, r.Content, from, to); err != nil {
			return fail(err.Error())
		}
		moved.Records = append(moved.Records, r)
	}
	for _, c := range s.Comments {
		if len(c.Content) > maxComment || len(c.Account) > maxComment {
			return fail("a comment is too long")
		}
	}
	return moved, nil
}

// moveName moves the name of a record, which must lie in the zone.
func moveName(name, from, to string) (string, error) {
	if _, ok := dns.IsDomainName(name); !ok || !dns.IsFqdn(name) || strings.ContainsAny(name, " \t\r\n") {
		return "", errors.New("the name is not valid")
	}
	moved, ok := below(name, from, to)
	if !ok {
		return "", errors.New("the name does not lie in the zone")
	}
	if _, ok := dns.IsDomainName(moved); !ok {
		return "", errors.New("the name is too long in this zone; restore into a zone with a shorter name")
	}
	return moved, nil
}

// below moves a name that lies in a zone.
func below(name, from, to string) (string, bool) {
	lower := strings.ToLower(name)
	if lower == from {
		return to, true
	}
	if rest, ok := strings.CutSuffix(lower, "."+from); ok && !strings.HasSuffix(rest, `\`) {
		return name[:len(rest)] + "." + to, true
	}
	return name, false
}

// moveValue writes a value anew, so that it is one value and nothing else, with the names of the
// types that have a host's name moved.
func moveValue(kind, value, from, to string) (string, error) {
	if strings.ContainsAny(value, "\r\n") {
		return "", errors.New("a value has a line break")
	}
	record, err := dns.NewRR(". 0 IN " + kind + " " + value)
	if err != nil || record == nil {
		return "", errors.New("a value is not valid")
	}
	if to != from {
		for _, name := range hosts(record) {
			*name, _ = below(*name, from, to)
		}
	}
	return strings.TrimPrefix(record.String(), record.Header().String()), nil
}

// hosts are the host names in a record.
func hosts(record dns.RR) []*string {
	switch r := record.(type) {
	case *dns.CNAME:
		return []*string{&r.Target}
	case *dns.DNAME:
		return []*string{&r.Target}
	case *dns.NS:
		return []*string{&r.Ns}
	case *dns.MX:
		return []*string{&r.Mx}
	case *dns.PTR:
		return []*string{&r.Ptr}
	case *dns.SRV:
		return []*string{&r.Target}
	case *dns.SVCB:
		return []*string{&r.Target}
	case *dns.HTTPS:
		return []*string{&r.Target}
	case *dns.NAPTR:
		return []*string{&r.Replacement}
	}
	return nil
}

// moved returns the copy's records as they are in another zone with other name servers, without
// what the server makes itself.
func (c *zoneCopy) moved(zone string, nameservers []string) ([]copiedSet, error) {
	var all []copiedSet
	var faults []error
	for _, s := range c.Sets {
		if s.own(c.Zone) {
			continue
		}
		m, err := s.move(c.Zone, zone)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if m.Type == "NS" && m.Name == zone {
			m.Records = slices.DeleteFunc(m.Records, func(r copiedRecord) bool {
				return slices.Contains(c.Nameservers, strings.ToLower(r.Content)) || slices.Contains(nameservers, strings.ToLower(r.Content))
			})
			for _, n := range nameservers {
				m.Records = append(m.Records, copiedRecord{Content: n})
			}
		}
		all = append(all, m)
	}
	if len(faults) > 0 {
		const most = 5
		return nil, services.Rejected("the copy has records that cannot be restored: %v", errors.Join(faults[:min(most, len(faults))]...))
	}
	return all, nil
}

// placeholder is a zone whose name all copies have when they are compared.
const placeholder = "zone.invalid."

// contents describes the copy without the zone's name, times to live and keys: those of the zone to
// which it is restored may differ.
func (c *zoneCopy) contents() (services.Contents, error) {
	sets, err := c.moved(placeholder, nil)
	if err != nil {
		return services.Contents{}, err
	}
	var lines []string
	records, comments := int64(0), int64(0)
	for _, s := range sets {
		comments += int64(len(s.Comments))
		for _, r := range s.Records {
			records++
			lines = append(lines, fmt.Sprintf("%s %s %t %s", strings.ToLower(s.Name), s.Type, r.Disabled, r.Content))
		}
		for _, m := range s.Comments {
			lines = append(lines, fmt.Sprintf("%s %s comment %q", strings.ToLower(s.Name), s.Type, m.Content))
		}
	}
	slices.SortFunc(lines, cmp.Compare)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	omitted := []string{
		"The keys of bindings: make new bindings.",
		"The zone's metadata, except whether it publishes CDS and CDNSKEY records.",
	}
	if c.dropped > 0 {
		omitted = append(omitted, fmt.Sprintf("%d sets of records that users cannot make: of a type with which the server runs code, for example.", c.dropped))
	}
	details, err := json.Marshal(copyDetails{Signed: len(c.Keys) > 0})
	return services.Contents{
		Format: copyFormat, Counts: map[string]int64{"records": records, "comments": comments},
		Digest: hex.EncodeToString(sum[:]), Details: details,
		Omitted: omitted,
	}, err
}

// copyDetails are what Restore has to know before it reads the copy.
type copyDetails struct {
	Signed bool `json:"signed"`
}
