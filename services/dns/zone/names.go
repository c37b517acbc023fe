package zone

import (
	"regexp"
	"strings"
)

var labelRule = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)

const maxName = 253 // RFC 1035, section 2.3.4, without the root's dot

// HostName returns a complete domain name in lower case with its final dot, which s may
// omit, or "." for the root.
func HostName(s string) (string, bool) {
	if s == "." {
		return s, true
	}
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if len(s) > maxName {
		return "", false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !labelRule.MatchString(label) {
			return "", false
		}
	}
	return s + ".", true
}

// Below says whether name lies below domain, both with their final dots.
func Below(name, domain string) bool { return strings.HasSuffix(name, "."+domain) }

// AtOrBelow says whether name is domain or lies below it.
func AtOrBelow(name, domain string) bool { return name == domain || Below(name, domain) }

// Labels are the parts of a name.
func Labels(name string) []string { return strings.Split(strings.TrimSuffix(name, "."), ".") }

// IsHost says whether name is a host's complete name.
func IsHost(name string) bool {
	canonical, ok := HostName(name)
	return ok && canonical != "."
}

var mailRule = regexp.MustCompile(`^[A-Za-z0-9_+-]{1,63}@[A-Za-z0-9.-]{1,190}$`)

// IsMail says whether address is a mail address that fits into SOA records: without a dot before
// the @.
func IsMail(address string) bool {
	_, host, _ := strings.Cut(address, "@")
	return mailRule.MatchString(address) && IsHost(host)
}
