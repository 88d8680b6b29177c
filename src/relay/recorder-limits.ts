/** How long the database alone may take, ms: contract.md §8. */
export const databasePatienceMs = 200
/** The same for an answer whose deadline may be over, ms. */
export const overduePatienceMs = 50
/** How much longer an answer waits for the disk, ms. A disk that hangs must not hold answers. */
export const diskPatienceMs = 2000
/** How long a process that ends goes on writing what is in the spool, ms. */
export const spooledPatienceMs = 1000
/**
 * What rows may weigh in memory while neither database nor disk takes them. Beyond, those of the workspace that has most are given up, counted and
 * shouted about; while the disk has not failed it is given time, and four times as much.
 */
export const memoryLimit = 64 * 1024 * 1024
export const memoryLimitOfDisk = 4 * memoryLimit
/** Pauses between tries of a database that is away. */
export const retryMs = { first: 100, last: 1000 }
/** A disk that failed is not asked again for so long. */
export const spoolRetryMs = 1000
