package s3

import (
	"context"
	"strings"
	"unicode/utf8"
)

// A list of objects is XML, which can carry neither control characters nor invalid UTF-8. A
// gateway that stores such keys lists U+FFFD in their place.

const replaced = string(utf8.RuneError)

// misspelled says whether a listed key may differ from the object's.
func misspelled(key string) bool { return strings.Contains(key, replaced) }

// spellings are the characters that are listed as U+FFFD, and that itself.
func spellings() []string {
	all := []string{replaced, "\ufffe", "\uffff"}
	for c := range ' ' {
		if !strings.ContainsRune("\x00\t\n\r", c) {
			all = append(all, string(c))
		}
	}
	return all
}

// spelled returns the key of an object that is listed under a given key, or under one with
// the same beginning; "" if there is none. It asks the gateway, character by character,
// which of the possible ones leads to an object.
func (c *client) spelled(ctx context.Context, bucket, listed string) (string, error) {
	key := ""
	for {
		literal, _, more := strings.Cut(listed, replaced)
		if key += literal; !more {
			return key, nil
		}
		longer, rest, err := c.next(ctx, bucket, key)
		if err != nil || longer == "" {
			return "", err
		}
		key, listed = longer, rest
	}
}

// next extends the known beginning of a key by a character that is listed as U+FFFD. rest is
// what is listed after it.
func (c *client) next(ctx context.Context, bucket, beginning string) (longer, rest string, err error) {
	for _, s := range spellings() {
		page, err := c.first(ctx, bucket, beginning+s)
		if err != nil {
			return "", "", err
		}
		if len(page) > 0 {
			longer := beginning + s
			return longer, string([]rune(page[0].Key)[utf8.RuneCountInString(longer):]), nil
		}
	}
	return "", "", nil
}
