/*
 * Two schedulers, the lease of one shard, its rounds, and what becomes of their events. See README.md for what is left out.
 *
 * Every step between two database statements is a point at which a process may rest for as long as it likes, which is all that a pause is.
 * -DNO_FENCE, -DBARE_CHECK and -DNO_INBOX each take away what the design says is needed, and must be found out.
 */
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef EXPIRIES
#define EXPIRIES 2 /* how often Redis takes the key from a living leader: expiry during a pause, FLUSHALL, a clock step */
#endif
#ifndef DIRECT
#define DIRECT 1   /* how often a candidate goes straight to PostgreSQL while another leads */
#endif
#ifndef CRASHES
#define CRASHES 2  /* of schedulers */
#endif
#ifndef LOSSES
#define LOSSES 1   /* crashes of the relay and of the consumer, each */
#endif

#define NOBODY 0 /* of the key in Redis; else the number of a scheduler */
#define DEAD 9   /* the key of one that has crashed: it will expire */

mtype = { none, open, locked, drawn, settled, skipped };

/* PostgreSQL */
mtype phase[SLOTS] = none;
byte epoch = 0;    /* of the lease row */
byte sharers = 0;  /* transactions that hold the lease row FOR SHARE */
bool told[SLOTS];  /* outbox: sent and confirmed */
bool inbox[SLOTS];
byte credits[SLOTS];

/* Redis, the broker and the time: slot n is on sale while clock == n */
byte key = NOBODY;
chan queue = [SLOTS + LOSSES] of { byte };
byte clock = 0;

/* What is left of each fault */
byte expiries = EXPIRIES;
byte direct = DIRECT;
byte crashes = CRASHES;

/* Seen from outside */
byte draws[SLOTS];

#define ended(r) (phase[r] == settled || phase[r] == skipped)
#if SLOTS == 1
#define over ended(0)
#define all_paid paid(0)
#else
#define over (ended(0) && ended(1))
#define all_paid (paid(0) && paid(1))
#endif
#define unopened(r) (phase[r] == none && clock >= r)
#define due(r) (unopened(r) || (phase[r] == open && clock > r) || phase[r] == locked)
#define paid(r) (phase[r] == skipped || (phase[r] == settled && credits[r] == 1))

active proctype time() {
    do
    :: clock < SLOTS -> clock++
    :: else -> break
    od
}

active proctype expiry() {
end:
    do
    :: atomic { key == DEAD -> key = NOBODY }
    :: atomic { key != NOBODY && key != DEAD && expiries > 0 -> expiries--; key = NOBODY }
    od
}

/* A statement of a scheduler that moves round r on from the phase in which it was seen, as a transaction under the fence. */
inline move(r, seen) {
#if defined(NO_FENCE)
    fenced = true;
#elif defined(BARE_CHECK)
    fenced = (mine == epoch);
#else
    atomic { fenced = (mine == epoch); sharers = sharers + (fenced -> 1 : 0) }
#endif
    if
    :: fenced ->
        if
        :: d_step {
            /* The commit: only a round that is still in that phase moves. */
            if
            :: phase[r] == seen ->
                assert(mine == epoch); /* no write of a lost lease */
                if
                :: seen == none && clock == r -> phase[r] = open
                :: seen == none && clock > r -> phase[r] = skipped
                :: seen == open -> phase[r] = locked
                :: seen == locked -> phase[r] = drawn; draws[r]++; assert(draws[r] == 1) /* no slot is drawn twice */
                fi
            :: else
            fi;
            release_fence()
        }
        :: atomic { crashes > 0 -> crashes--; release_fence(); crashed = true } /* the server rolls back */
        fi
    :: else
    fi
}

inline release_fence() {
#if !defined(NO_FENCE) && !defined(BARE_CHECK)
    sharers--
#endif
    skip
}

proctype scheduler(byte me) {
    byte mine, r;
    mtype seen;
    bool fenced, crashed;
candidate:
    /* What is not needed any more is forgotten, and fewer states differ. */
    atomic { mine = 0; r = 0; seen = none; fenced = false; crashed = false };
    if
    :: over -> goto done
    :: atomic { key == NOBODY -> key = me }     /* SET NX */
    :: atomic { direct > 0 && epoch > 0 -> direct-- } /* Redis can't be reached */
    fi;
    /* The take-over waits for the transitions under way. */
    atomic { sharers == 0 -> epoch++; mine = epoch };
leader:
    do
    :: over -> goto done
    :: atomic { due(0) -> r = 0; seen = phase[0] }; goto transition
#if SLOTS > 1
    :: atomic { due(1) -> r = 1; seen = phase[1] }; goto transition
#endif
    :: atomic { crashes > 0 -> crashes--; crashed = true }; goto lost
    :: mine != epoch -> goto lost /* a roll call says so */
    od;
transition:
    move(r, seen);
    if
    :: crashed -> goto lost
    :: !crashed && fenced -> goto leader
    :: else -> goto lost
    fi;
lost:
    /* One that crashed leaves its key behind; one that lost its lease gives it up. */
    atomic {
        if
        :: key == me && crashed -> key = DEAD
        :: key == me && !crashed -> key = NOBODY
        :: else
        fi
    };
    goto candidate;
done:
    skip
}

/* The settler needs no lease: it moves a round and writes the event in one transaction, and the phase lets it do so once. */
active proctype settler() {
    do
    :: d_step { phase[0] == drawn -> phase[0] = settled }
#if SLOTS > 1
    :: d_step { phase[1] == drawn -> phase[1] = settled }
#endif
    :: over -> break
    od
}

/* Publishes what is in the outbox and not marked; a crash between the two publishes it again. */
active proctype relay() {
    byte losses = LOSSES, r;
end:
    do
    :: atomic { phase[0] == settled && !told[0] -> r = 0 }; goto publish
#if SLOTS > 1
    :: atomic { phase[1] == settled && !told[1] -> r = 1 }; goto publish
#endif
    od;
publish:
    queue ! r;
    if
    :: told[r] = true
    :: losses > 0 -> losses--
    fi;
    goto end
}

/* The wallet. What it has not acknowledged before it crashes is delivered again. */
active proctype consumer() {
    byte losses = LOSSES, r;
end:
    do
    :: queue ? <r> ->
        d_step {
#ifndef NO_INBOX
            if
            :: !inbox[r] -> inbox[r] = true; credits[r]++
            :: else
            fi;
#else
            credits[r]++;
#endif
            assert(credits[r] <= 1) /* each effect once */
        };
        if
        :: queue ? r
        :: losses > 0 -> losses--
        fi
    od
}

init {
    atomic { run scheduler(1); run scheduler(2) }
}

ltl all_end { <> all_paid }
