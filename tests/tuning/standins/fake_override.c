/* Override files as the generations of hipBLASLt read them: see fake_hipblaslt.h.
 * G1: exactly 37 fields, by place. G2, G3: a header with `transA`, and its row next; eleven names in their order. G4: by
 * name in any order. All but G4 drop index 0. The first line must name this build. */
#include "fake_hipblaslt.h"

#include <stdio.h>

enum { COLUMNS = 64, WANTED = 11 };

static const char *const NAMES[WANTED] = {"transA", "transB", "batch_count", "m", "n", "k",
                                          "a_type", "b_type", "c_type", "compute_type", "solution_index"};
static const int PLACES_G1[WANTED] = {0, 1, 3, 4, 5, 6, 17, 18, 19, 21, 34};

typedef struct { char key[160]; int index; } Row;

static Row *rows;
static size_t row_count;
static int loaded;

static int split(char *line, char **fields) {
    int count = 0;
    line[strcspn(line, "\r\n")] = 0;
    for (char *at = line; at && count < COLUMNS; ++count) {
        fields[count] = at + strspn(at, " \t");
        at = strchr(at, ',');
        if (at) *at++ = 0;
    }
    return count;
}

static void keep(char **values, const int *places, int zero_too) {
    char *end;
    long index = strtol(values[places[WANTED - 1]], &end, 10);
    if (*end || index < 0 || (!index && !zero_too)) return;
    rows = realloc(rows, (row_count + 1) * sizeof *rows);
    Row *row = &rows[row_count++];
    size_t length = 0;
    for (int i = 0; i < WANTED - 1; ++i)
        length += (size_t)snprintf(row->key + length, sizeof row->key - length, "%s,", values[places[i]]);
    row->index = (int)index;
}

/* Where the wanted names are in a header; 0 when it is none. */
static int find_places(char **fields, int count, int *places, int in_order) {
    for (int i = 0, from = 0; i < WANTED; ++i) {
        int at = from;
        while (at < count && strcmp(fields[at], NAMES[i])) ++at;
        if (at == count) return 0;
        places[i] = at;
        from = in_order ? at + 1 : 0;
    }
    return 1;
}

static void read_rows(FILE *file, char generation) {
    char line[4096], next[4096], *fields[COLUMNS], *values[COLUMNS];
    int places[WANTED];
    while (fgets(line, sizeof line, file)) {
        if (generation == '1') {
            int is_header = strstr(line, "transA") != NULL;
            if (split(line, fields) == 37 && !is_header) keep(fields, PLACES_G1, 0);
            continue;
        }
        if (!strstr(line, "transA")) continue;
        int count = split(line, fields);
        if (!find_places(fields, count, places, generation != '4')) continue;
        if (!fgets(next, sizeof next, file)) break;
        if (split(next, values) == count) keep(values, places, generation == '4');
    }
}

static void load(void) {
    const char *path = getenv("HIPBLASLT_TUNING_OVERRIDE_FILE");
    char line[256];
    loaded = 1;
    FILE *file = fopen(path, "r");
    if (!file) {
        log_message(LOG_INFO, "hipblasLtMatmulAlgoGetHeuristic", "No valid entries found in override file.");
        return;
    }
    static const char stamp[] = "Git Version: ";
    int same = 0;
    if (fgets(line, sizeof line, file) && !strncmp(line, stamp, sizeof stamp - 1)) {
        line[strcspn(line, "\r\n")] = 0;
        same = !strcmp(line + sizeof stamp - 1, revision());
    }
    if (same) {
        log_message(LOG_INFO, "hipblasLtMatmulAlgoGetHeuristic",
                    "HIPBLASLT_TUNING_OVERRIDE_FILE is the correct setting.");
        read_rows(file, text_of("STANDIN_READER", "G2")[1]);
        if (!row_count)
            log_message(LOG_INFO, "problem_override_from_file", "No valid entries found in override file.");
    } else {
        log_message(LOG_ERROR, "hipblasLtMatmulAlgoGetHeuristic",
                    "The hipBLASLt git version and the override file git version are not the same.");
    }
    fclose(file);
}

int override_for(const Problem *p, size_t max_workspace) {
    char key[160];
    if (!getenv("HIPBLASLT_TUNING_OVERRIDE_FILE")) return -1;
    if (!loaded) load();
    snprintf(key, sizeof key, "%c,%c,%d,%lld,%lld,%lld,%s,%s,%s,%s,", p->desc->trans_a == 111 ? 'N' : 'T',
             p->desc->trans_b == 111 ? 'N' : 'T', p->batch, (long long)p->m, (long long)p->n, (long long)p->k,
             type_name((int)p->a->type), type_name((int)p->b->type), type_name((int)p->c->type),
             compute_name(p->desc->compute));
    for (size_t i = row_count; i-- > 0;) {
        if (strcmp(rows[i].key, key) || !solution_fits(p, rows[i].index, max_workspace)) continue;
        log_message(LOG_INFO, "problem_override_from_file", "Find solution with index: %d", rows[i].index);
        return rows[i].index;
    }
    if (row_count)
        log_message(LOG_INFO, "problem_override_from_file", "No valid solution index found in override file.");
    return -1;
}
