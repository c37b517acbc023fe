package backup

import (
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services"
)

// Errors of this package, for errors.Is. Other errors say that the store is away or
// misconfigured: the caller repeats later. A full store is services.OutOfCapacity.
var (
	// ErrNotFound says that the object or the manifest does not exist.
	ErrNotFound = errors.New("the backup is not in the store")
	// ErrDamaged says that what is stored is not what was written.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrKey says that the instance's key is missing, or does not open the backup.
	ErrKey = errors.New("the backup cannot be decrypted")
	// ErrTooLarge says that a copy exceeds its limit.
	ErrTooLarge = errors.New("the copy is too large")
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}

func isDamaged(err error) bool { return errors.Is(err, ErrDamaged) }

// codeOf returns the code of the store's error; empty if the store did not answer.
func codeOf(err error) string {
	answer, _ := errors.AsType[minio.ErrorResponse](err)
	return answer.Code
}

func isMissing(err error) bool { return codeOf(err) == minio.NoSuchKey }

// explain adds what the broker was doing, and what the operator can do.
func explain(doing string, err error) error {
	if isMissing(err) {
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return services.Explain(doing, err, advice())
}

// advice is about the errors of Amazon S3, Versity S3 Gateway, MinIO and Ceph.
func advice() []services.Advice {
	is := func(codes ...string) func(error) bool {
		return func(err error) bool { return slices.Contains(codes, codeOf(err)) }
	}
	return []services.Advice{
		{About: is("NoSpaceLeftOnDevice", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded"),
			Text: "the store of backups is full; make room in it, or keep fewer backups", Full: true},
		{About: is(minio.NoSuchBucket), Text: "the bucket of backups does not exist; make it, or change backups.store.bucket in the catalog"},
		{About: is("InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed"),
			Text: "the store of backups refuses the broker's key; check access_key_id, secret_access_key and region of backups.store in the catalog"},
		{About: is(minio.AccessDenied),
			Text: "the account of backups.store in the catalog may not do this; it has to list the bucket and its incomplete uploads, and read, write and delete objects"},
		{About: isOutage, Text: "the store of backups does not answer; check that it runs, and backups.store.endpoint in the catalog"},
	}
}

func isOutage(err error) bool {
	_, ok := errors.AsType[*url.Error](err)
	return ok
}
