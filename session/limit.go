package session

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// longestEvery bounds the time from one event to the next, so that no bucket outlives a day.
const longestEvery = 24 * time.Hour

// Take takes one event from the bucket of this name, which all replicas share: burst events at once,
// perSecond in the long run, by Redis's clock. When there is none, ok is false and retryAfter says when
// there will be one. ErrUnavailable: nobody knows; the caller's own limit has to do.
func (s *RedisStore) Take(_ context.Context, name string, perSecond float64, burst int) (retryAfter time.Duration, ok bool, err error) {
	every := longestEvery
	if perSecond > 1/longestEvery.Seconds() {
		every = max(time.Duration(float64(time.Second)/perSecond), time.Microsecond)
	}
	args := []string{strconv.FormatInt(every.Microseconds(), 10), strconv.Itoa(max(burst, 1))}
	answer, err := s.exec(s.scripts.take, []string{s.keys.limit(name)}, args)
	switch {
	case err != nil:
		return 0, false, err
	case answer[0] == "ok":
		return 0, true, nil
	case answer[0] == "wait" && len(answer) == 2:
		microseconds, err := strconv.ParseInt(answer[1], 10, 64)
		if err != nil {
			return 0, false, unavailable(fmt.Errorf("a limit's wait: %w", err))
		}
		return time.Duration(microseconds) * time.Microsecond, false, nil
	default:
		return 0, false, s.surprised(answer)
	}
}
