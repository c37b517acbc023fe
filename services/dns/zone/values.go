package zone

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// rules are what the values of each record type that parameters may name must be.
var rules = map[string]string{
	"A":     "must be an IPv4 address",
	"AAAA":  "must be an IPv6 address",
	"CAA":   `must be flags, a tag and a value, such as "0 issue letsencrypt.org"`,
	"CNAME": "must be the complete name of a host",
	"MX":    `must be a preference and the complete name of a host, such as "10 mail.example.com"`,
	"NS":    "must be the complete name of a host",
	"SRV":   `must be priority, weight, port and the complete name of a host, such as "10 5 5060 sip.example.com"`,
	"TXT":   fmt.Sprintf("must be the text itself, without quotes around it, and have %d bytes at most", maxTXT),
}

// ParseValue turns a user's value into the form of a zone file.
func ParseValue(kind, text string) (string, error) {
	value, ok := "", false
	switch kind {
	case "CAA":
		value, ok = parseCAA(text)
	case "TXT":
		value, ok = parseTXT(text)
	default:
		value, ok = parseFields(kind, text)
	}
	if !ok {
		return "", errors.New(rules[kind])
	}
	return value, nil
}

// parseFields reads an address, or numbers and a name. In MX and SRV records, the root
// stands for "no such service" (RFC 7505, RFC 2782).
func parseFields(kind, text string) (string, bool) {
	record, err := dns.NewRR(". 0 IN " + kind + " " + text)
	if err != nil || record == nil || strings.ContainsAny(text, "\r\n;()@\"\\") || strings.TrimSpace(text) != text { // zone files' syntax
		return "", false
	}
	fields := strings.Fields(strings.TrimPrefix(record.String(), record.Header().String()))
	if len(fields) != len(strings.Fields(text)) {
		return "", false
	}
	if kind != "A" && kind != "AAAA" {
		host, ok := HostName(fields[len(fields)-1])
		if !ok || host == "." && (kind == "CNAME" || kind == "NS") {
			return "", false
		}
		fields[len(fields)-1] = host
	}
	return strings.Join(fields, " "), len(fields) > 0
}

var (
	tagRule = regexp.MustCompile(`^[a-z0-9]{1,15}$`)
	caaRule = regexp.MustCompile(`^[!#-\[\]-~ ]{0,500}$`) // printable ASCII without " and \
)

// parseCAA reads flags, a tag and a value, with or without quotes (RFC 8659, section 4.1.1).
func parseCAA(s string) (string, bool) {
	flags, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	tag, value, ok := strings.Cut(strings.TrimSpace(rest), " ")
	v, err := strconv.ParseUint(flags, 10, 8)
	value = strings.TrimSpace(value)
	if unquoted, quoted := strings.CutPrefix(value, `"`); quoted {
		if value, quoted = strings.CutSuffix(unquoted, `"`); !quoted {
			return "", false
		}
	}
	if err != nil || !ok || !tagRule.MatchString(tag) || !caaRule.MatchString(value) {
		return "", false
	}
	return fmt.Sprintf(`%d %s "%s"`, v, tag, value), true
}

const maxTXT = 4000 // bytes

// parseTXT splits a text into strings of 255 bytes (RFC 1035, section 3.3.14) and quotes them.
func parseTXT(s string) (string, bool) {
	if len(s) > maxTXT || len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"' {
		return "", false
	}
	if s == "" {
		return quoted(s), true
	}
	var parts []string
	for part := range slices.Chunk([]byte(s), 255) {
		parts = append(parts, quoted(string(part)))
	}
	return strings.Join(parts, " "), true
}

// quoted writes bytes as a character string of a zone file (RFC 1035, section 5.1).
func quoted(s string) string {
	out := []byte{'"'}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c < ' ' || c > '~':
			out = fmt.Appendf(out, `\%03d`, c)
		default:
			out = append(out, c)
		}
	}
	return string(append(out, '"'))
}
